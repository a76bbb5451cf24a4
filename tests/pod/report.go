package main

import (
	"errors"
	"net"
	"sync"
	"time"
)

// report counts what came of connections, by what was answered and by what went wrong.
type report struct {
	mutex    sync.Mutex
	Answers  map[string]int `json:"answers"`
	Failures map[string]int `json:"failures"`
	// SlowestMs is the longest time from the dial to the end of an answer.
	SlowestMs int64 `json:"slowestMs"`
}

// Kinds of failures are counted apart up to this many.
const kinds = 16

func newReport() *report {
	return &report{Answers: map[string]int{}, Failures: map[string]int{}}
}

func (report *report) answered(name string, took time.Duration) {
	report.mutex.Lock()
	defer report.mutex.Unlock()
	report.Answers[name]++
	report.SlowestMs = max(report.SlowestMs, took.Milliseconds())
}

// failed counts a failure while something was done, such as "connect".
func (report *report) failed(while string, err error) {
	var operation *net.OpError
	if errors.As(err, &operation) {
		err = operation.Err // Without ports, which differ each time.
	}
	kind := while + ": " + err.Error()
	report.mutex.Lock()
	defer report.mutex.Unlock()
	if _, known := report.Failures[kind]; !known && len(report.Failures) >= kinds {
		kind = while + ": others"
	}
	report.Failures[kind]++
}
