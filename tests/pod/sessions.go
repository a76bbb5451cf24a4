package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// sessions are connections to an echo, with a line every beat, until they are ended.
type sessions struct {
	report *report
	stop   chan struct{}
	all    sync.WaitGroup
}

const beat = 100 * time.Millisecond

// calm is how long a line may take: sessions show what is lost, not how fast a busy machine is.
const calm = 30 * time.Second

// openSessions returns when each has had its first line back.
func openSessions(query query) (*sessions, error) {
	sessions := &sessions{report: newReport(), stop: make(chan struct{})}
	for number := range query.n {
		connection, err := net.DialTimeout("tcp", query.to, patience)
		if err == nil {
			reader := bufio.NewReader(connection)
			if err = exchange(connection, reader, number, 0); err == nil {
				sessions.all.Add(1)
				go sessions.hold(connection, reader, number)
				continue
			}
			connection.Close()
		}
		sessions.end()
		return nil, fmt.Errorf("session %d: %w", number, err)
	}
	return sessions, nil
}

// hold exchanges lines until the end, and then ends as a client does that has said all.
func (sessions *sessions) hold(connection net.Conn, reader *bufio.Reader, number int) {
	defer sessions.all.Done()
	defer connection.Close()
	for line := 1; ; line++ {
		select {
		case <-sessions.stop:
			if err := part(connection, reader); err != nil {
				sessions.report.failed("ending", err)
				return
			}
			sessions.report.answered("whole", 0)
			return
		case <-time.After(beat):
			if err := exchange(connection, reader, number, line); err != nil {
				sessions.report.failed("session", err)
				return
			}
		}
	}
}

func exchange(connection net.Conn, reader *bufio.Reader, number, line int) error {
	connection.SetDeadline(time.Now().Add(calm))
	sent := fmt.Sprintf("session %d line %d\n", number, line)
	if _, err := io.WriteString(connection, sent); err != nil {
		return err
	}
	got, err := reader.ReadString('\n')
	if err != nil {
		return err
	}
	if got != sent {
		return fmt.Errorf("sent %q, got %q", sent, got)
	}
	return nil
}

// part says that nothing more comes, and waits to hear the same.
func part(connection net.Conn, reader *bufio.Reader) error {
	connection.SetDeadline(time.Now().Add(calm))
	if err := connection.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	rest, err := io.ReadAll(reader)
	if err == nil && len(rest) > 0 {
		return fmt.Errorf("%d bytes too many", len(rest))
	}
	return err
}

func (sessions *sessions) end() any {
	close(sessions.stop)
	sessions.all.Wait()
	return sessions.report
}
