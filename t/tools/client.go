// Licensed under the Apache License, Version 2.0; see LICENSE.

// A TLS client of Go's standard library, as it is without a setting: exit
// status 0 where the handshake comes to its end.
//
//	client 127.0.0.1:443 www.example.com root.pem
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
)

func main() {
	pem, err := os.ReadFile(os.Args[3])
	if err != nil {
		fmt.Println(err)
		os.Exit(2)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	conn, err := tls.Dial("tcp", os.Args[1], &tls.Config{
		ServerName: os.Args[2],
		RootCAs:    roots,
	})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("staple:", len(conn.OCSPResponse()), "bytes")
	conn.Close()
}
