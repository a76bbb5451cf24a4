package main

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// patience is how long a connect, and an answer, may take.
const patience = 5 * time.Second

// fetchOne gets a page over a connection of its own.
func fetchOne(query query, report *report) {
	start := time.Now()
	first := query.to
	if query.via != "" {
		first = query.via
	}
	connection, err := net.DialTimeout("tcp", first, patience)
	if err != nil {
		report.failed("connect", err)
		return
	}
	defer connection.Close()
	connection.SetDeadline(time.Now().Add(patience))
	reader := bufio.NewReader(connection)
	if query.via != "" {
		if err := tunnel(connection, reader, query); err != nil {
			report.failed("tunnel", err)
			return
		}
	}
	page, err := readPage(connection, reader, query.to)
	if err != nil {
		report.failed("answer", err)
		return
	}
	report.answered(page, time.Since(start))
}

// tunnel asks a CONNECT proxy for one.
func tunnel(connection net.Conn, reader *bufio.Reader, query query) error {
	head := fmt.Sprintf("CONNECT %s HTTP/1.1\r\nHost: %s\r\n", query.to, query.to)
	if query.user != "" {
		head += "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(query.user)) + "\r\n"
	}
	if _, err := io.WriteString(connection, head+"\r\n"); err != nil {
		return err
	}
	answer, err := http.ReadResponse(reader, &http.Request{Method: http.MethodConnect})
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s", answer.Status)
	}
	return nil
}

func readPage(connection net.Conn, reader *bufio.Reader, host string) (string, error) {
	head := fmt.Sprintf("GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", host)
	if _, err := io.WriteString(connection, head); err != nil {
		return "", err
	}
	answer, err := http.ReadResponse(reader, nil)
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, 4096))
	return strings.TrimSpace(string(body)), err
}

// load fetches pages until it is ended.
type load struct {
	report  *report
	stop    chan struct{}
	workers sync.WaitGroup
}

// pause of each worker between two pages: a load shows failures, it does not measure speed.
const pause = 5 * time.Millisecond

func startLoad(query query) *load {
	load := &load{report: newReport(), stop: make(chan struct{})}
	for range query.n {
		load.workers.Add(1)
		go func() {
			defer load.workers.Done()
			for {
				select {
				case <-load.stop:
					return
				case <-time.After(pause):
					fetchOne(query, load.report)
				}
			}
		}()
	}
	return load
}

func (load *load) end() any {
	close(load.stop)
	load.workers.Wait()
	return load.report
}
