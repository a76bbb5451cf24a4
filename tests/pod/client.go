package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync"
)

// work goes on between two requests: the first starts it, the second ends it and gets its report.
type work interface {
	end() any
}

// works are those that go on, by the name that their request gave them.
type works struct {
	mutex sync.Mutex
	named map[string]work
}

// client serves at an address:
//
//	/fetch?to=HOST:PORT&n=6[&via=HOST:PORT&user=NAME:PASSWORD]   one page after another
//	/load?to=HOST:PORT&name=NAME&n=2                             pages without pause, by n workers
//	/sessions?to=HOST:PORT&name=NAME&n=200                       n sessions with an echo
//	/end?name=NAME                                               ends one of the last two
func client(address string) error {
	works := &works{named: map[string]work{}}
	http.HandleFunc("/fetch", func(w http.ResponseWriter, r *http.Request) {
		answer(w, func(query query) (any, error) {
			report := newReport()
			for range query.n {
				fetchOne(query, report)
			}
			return report, nil
		}, r.URL)
	})
	http.HandleFunc("/load", func(w http.ResponseWriter, r *http.Request) {
		answer(w, func(query query) (any, error) { return works.add(query, startLoad(query)) }, r.URL)
	})
	http.HandleFunc("/sessions", func(w http.ResponseWriter, r *http.Request) {
		answer(w, func(query query) (any, error) {
			sessions, err := openSessions(query)
			if err != nil {
				return nil, err
			}
			return works.add(query, sessions)
		}, r.URL)
	})
	http.HandleFunc("/end", func(w http.ResponseWriter, r *http.Request) {
		work, err := works.take(r.URL.Query().Get("name"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
			return
		}
		json.NewEncoder(w).Encode(work.end())
	})
	return http.ListenAndServe(address, nil)
}

// query is what a request asks for.
type query struct {
	to, via, user, name string
	n                   int
}

func answer(w http.ResponseWriter, do func(query) (any, error), url *url.URL) {
	values := url.Query()
	n, err := strconv.Atoi(values.Get("n"))
	if err != nil || n < 1 {
		http.Error(w, fmt.Sprintf("n is %q: expected a number above 0", values.Get("n")), http.StatusBadRequest)
		return
	}
	done, err := do(query{values.Get("to"), values.Get("via"), values.Get("user"), values.Get("name"), n})
	if err != nil {
		// Not a status that clients of the API server try again.
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	json.NewEncoder(w).Encode(done)
}

func (works *works) add(query query, work work) (any, error) {
	works.mutex.Lock()
	defer works.mutex.Unlock()
	if works.named[query.name] != nil {
		work.end()
		return nil, fmt.Errorf("%q is under way", query.name)
	}
	works.named[query.name] = work
	return "started", nil
}

func (works *works) take(name string) (work, error) {
	works.mutex.Lock()
	defer works.mutex.Unlock()
	work := works.named[name]
	if work == nil {
		return nil, fmt.Errorf("no work is named %q", name)
	}
	delete(works.named, name)
	return work, nil
}
