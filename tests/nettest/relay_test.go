// Package nettest runs the tests that Go holds every net.Conn to through a forward: what one end
// does, the other end must see as if they were connected without it.
package nettest

import (
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/net/nettest"
)

func TestConn(t *testing.T) {
	listener, err := net.Listen("tcp", address(t, "NETTEST_BACKEND"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	forward := address(t, "NETTEST_FORWARD")

	nettest.TestConn(t, func() (downstream, upstream net.Conn, stop func(), err error) {
		downstream, err = net.DialTimeout("tcp", forward, 10*time.Second)
		if err != nil {
			return nil, nil, nil, err
		}
		listener.(*net.TCPListener).SetDeadline(time.Now().Add(10 * time.Second))
		upstream, err = listener.Accept()
		if err != nil {
			downstream.Close()
			return nil, nil, nil, err
		}
		stop = func() {
			downstream.Close()
			upstream.Close()
		}
		return downstream, upstream, stop, nil
	})
}

func address(t *testing.T, variable string) string {
	value := os.Getenv(variable)
	if value == "" {
		t.Fatalf("%s is not set: `make test-wire` starts a forward and this test", variable)
	}
	return value
}
