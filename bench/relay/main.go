// relay is the forwarder that one writes by hand in Go: to -target with io.Copy both ways, or, without a target, a
// CONNECT proxy over net/http. It logs one line a session, as the others do.
package main

import (
	"flag"
	"io"
	"log"
	"net"
	"net/http"
	"time"
)

const dialTimeout = 5 * time.Second

func main() {
	listen := flag.String("listen", "", "address to listen on")
	target := flag.String("target", "", "address to relay to; empty: where a CONNECT asks for")
	flag.Parse()
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	if *target == "" {
		server := &http.Server{Handler: http.HandlerFunc(tunnel), ReadHeaderTimeout: 10 * time.Second}
		log.Fatal(server.Serve(listener))
	}
	for {
		down, err := listener.Accept()
		if err != nil {
			log.Print(err)
			continue
		}
		go relay(down, *target)
	}
}

func relay(down net.Conn, target string) {
	up, err := net.DialTimeout("tcp", target, dialTimeout)
	if err != nil {
		log.Print(err)
		down.Close()
		return
	}
	both(down, up)
}

func tunnel(answer http.ResponseWriter, request *http.Request) {
	if request.Method != http.MethodConnect {
		http.Error(answer, "only CONNECT", http.StatusMethodNotAllowed)
		return
	}
	up, err := net.DialTimeout("tcp", request.Host, dialTimeout)
	if err != nil {
		http.Error(answer, err.Error(), http.StatusBadGateway)
		return
	}
	// Before the answer: what the client sends after it could be read by the server still.
	down, buffer, err := answer.(http.Hijacker).Hijack()
	if err != nil {
		up.Close()
		return
	}
	io.WriteString(down, "HTTP/1.1 200 OK\r\n\r\n")
	io.CopyN(up, buffer, int64(buffer.Reader.Buffered()))
	both(down, up)
}

func both(down, up net.Conn) {
	start := time.Now()
	sent := make(chan int64)
	go func() { sent <- one(up, down) }()
	received := one(down, up)
	log.Printf("client=%s upstream=%s duration=%s up_bytes=%d down_bytes=%d",
		down.RemoteAddr(), up.RemoteAddr(), time.Since(start), <-sent, received)
	down.Close()
	up.Close()
}

// one copies until the source's FIN and passes that on.
func one(to, from net.Conn) int64 {
	n, _ := io.Copy(to, from)
	if tcp, ok := to.(*net.TCPConn); ok {
		tcp.CloseWrite()
	}
	return n
}
