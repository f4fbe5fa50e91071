// The peer "go": app and transform on net/http, JSON over kept-alive connections between them.
// usage: peer transform SOCKET | peer app SOCKET TRANSFORM-SOCKET
//
// Go's standard library has no grapheme clusters: transform reverses by code point, which is less work.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"math/rand"
	"net"
	"net/http"
	"os"
	"time"
)

type message struct {
	Message *string `json:"message"`
}

type answer struct {
	Message string  `json:"message"`
	Rand    float64 `json:"rand"`
}

// read gives the message of a request body, or why there is none.
func read(body io.Reader) (string, error) {
	raw, err := io.ReadAll(body)
	if err != nil {
		return "", err
	}
	var m message
	if err := json.Unmarshal(raw, &m); err != nil {
		return "", err
	}
	if m.Message == nil {
		return "", errors.New("there is no message")
	}
	return *m.Message, nil
}

func write(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(value); err != nil {
		log.Print(err)
	}
}

func reverse(text string) string {
	runes := []rune(text)
	for i, j := 0, len(runes)-1; i < j; i, j = i+1, j-1 {
		runes[i], runes[j] = runes[j], runes[i]
	}
	return string(runes)
}

func transform(w http.ResponseWriter, r *http.Request) {
	text, err := read(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	reversed := reverse(text)
	write(w, message{&reversed})
}

// caller gives a function that asks transform, over connections that stay open.
func caller(socket string) func(string) (string, error) {
	var dialer net.Dialer
	client := &http.Client{Transport: &http.Transport{
		MaxIdleConns:        0,
		MaxIdleConnsPerHost: 4096,
		DisableCompression:  true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", socket)
		},
	}}
	return func(text string) (string, error) {
		body, err := json.Marshal(message{&text})
		if err != nil {
			return "", err
		}
		response, err := client.Post("http://transform/reverse", "application/json", bytes.NewReader(body))
		if err != nil {
			return "", err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return "", errors.New(response.Status)
		}
		return read(response.Body)
	}
}

func app(reversed func(string) (string, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		text, err := read(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		back, err := reversed(text)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		write(w, answer{back, rand.Float64()})
	}
}

func main() {
	mux := http.NewServeMux()
	if os.Args[1] == "app" {
		rand.Seed(time.Now().UnixNano()) // Go before 1.20 begins with a constant
		mux.HandleFunc("/api", app(caller(os.Args[3])))
	} else {
		mux.HandleFunc("/reverse", transform)
	}
	listener, err := net.Listen("unix", os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.Serve(listener, mux))
}
