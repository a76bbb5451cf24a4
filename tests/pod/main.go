// pod is what runs in pods of tests, in an image that holds nothing else: pod wait | echo | page | client.
package main

import (
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"
)

const usage = `usage: pod wait              the first process of a pod or a machine: buries others until it is asked to end
       pod echo ADDRESS      sends back what it gets
       pod page ADDRESS…     answers HTTP requests with its host's name
       pod client ADDRESS    connects to others as HTTP requests ask it to`

func main() {
	log.SetFlags(log.Lmicroseconds)
	switch {
	case len(os.Args) == 2 && os.Args[1] == "wait":
		wait()
	case len(os.Args) == 3 && os.Args[1] == "echo":
		log.Fatal(echo(os.Args[2]))
	case len(os.Args) >= 3 && os.Args[1] == "page":
		if err := page(os.Args[2:]); err != nil {
			log.Fatal(err)
		}
	case len(os.Args) == 3 && os.Args[1] == "client":
		log.Fatal(client(os.Args[2]))
	default:
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(64)
	}
}

// wait buries orphans, as the first process has to, until SIGTERM or SIGINT.
func wait() {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGCHLD, syscall.SIGTERM, syscall.SIGINT)
	for signal := range signals {
		if signal != syscall.SIGCHLD {
			return
		}
		for {
			if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 || err != nil {
				break
			}
		}
	}
}
