// Fetches a page through a proxy by net/http: PROXY URL AUTHORITY FILE.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
)

func main() {
	log.SetFlags(0)
	proxy, err := url.Parse(os.Args[1])
	check(err)
	authority, err := os.ReadFile(os.Args[3])
	check(err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority)
	client := http.Client{Transport: &http.Transport{
		Proxy:           http.ProxyURL(proxy),
		TLSClientConfig: &tls.Config{RootCAs: pool},
	}}
	answer, err := client.Get(os.Args[2])
	check(err)
	body, err := io.ReadAll(answer.Body)
	check(err)
	check(os.WriteFile(os.Args[4], body, 0o644))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
