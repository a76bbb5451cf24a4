package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"
)

// page serves at some addresses: a page with the host's name to HTTP requests, and PONG to Redis' PING.
// When it is asked to end, it takes no more connections, and answers those that it has.
func page(addresses []string) error {
	name, err := os.Hostname()
	if err != nil {
		return err
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	var listeners []net.Listener
	var open sync.WaitGroup
	for _, address := range addresses {
		listener, err := net.Listen("tcp", address)
		if err != nil {
			return err
		}
		listeners = append(listeners, listener)
		go func() {
			for {
				connection, err := listener.Accept()
				if err != nil {
					return
				}
				open.Add(1)
				go func() {
					defer open.Done()
					defer connection.Close()
					answerOne(connection, name)
				}()
			}
		}()
	}
	<-stop
	for _, listener := range listeners {
		listener.Close()
	}
	open.Wait()
	return nil
}

func answerOne(connection net.Conn, name string) {
	connection.SetDeadline(time.Now().Add(patience))
	reader := bufio.NewReader(connection)
	for first := true; ; first = false {
		line, err := reader.ReadString('\n')
		switch {
		case err != nil:
			return
		case first && line == "PING\r\n":
			fmt.Fprint(connection, "+PONG\r\n")
			return
		case strings.TrimSpace(line) == "":
			fmt.Fprintf(connection, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s\n", len(name)+1, name)
			return
		}
	}
}
