package main

import (
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"
)

// echo serves at an address. When it is asked to end, it takes no more connections, and open ones go
// on until the pod's grace period is over, as those of a well-behaved server do.
func echo(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	go func() {
		<-stop
		listener.Close()
	}()
	for {
		connection, err := listener.Accept()
		if err != nil {
			select {} // Open connections are on goroutines of their own.
		}
		go func() {
			defer connection.Close()
			io.Copy(connection, connection)
		}()
	}
}
