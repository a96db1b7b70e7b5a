// A swarm of simulated sidecars that costs little, to measure a control plane by: README.md of the benchmark has its commands.
//
// It reads a command a line from standard input, as JSON, and answers each with a line. Times are seconds of CLOCK_MONOTONIC.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

func monotonic() float64 {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		panic(err)
	}
	return float64(now.Sec) + float64(now.Nsec)/1e9
}

type command struct {
	Do         string   `json:"do"`
	First      int      `json:"first"` // which sidecars are meant: the first, how many, and how far from one to the next
	Count      int      `json:"count"`
	Step       int      `json:"step"`
	Within     float64  `json:"within"` // seconds, for what is waited for
	Addresses  []string `json:"addresses"`
	Namespaces int      `json:"namespaces"`
	Least      int      `json:"least"`
	Again      bool     `json:"again"`
	TypeURL    string   `json:"type_url"`
	Name       string   `json:"name"`
	Mark       []byte   `json:"mark"`
	Removed    bool     `json:"removed"`
	Folder     string   `json:"folder"`
}

func (c command) means(number int) bool {
	return number >= c.First && number < c.First+c.Count*c.Step && (number-c.First)%c.Step == 0
}

func (c command) numbers() []int {
	var meant []int
	for each := range c.Count {
		meant = append(meant, c.First+each*c.Step)
	}
	return meant
}

type answer struct {
	Error  string  `json:"error,omitempty"`
	Begun  float64 `json:"begun,omitempty"`
	First  float64 `json:"first,omitempty"`
	Median float64 `json:"median,omitempty"`
	Last   float64 `json:"last,omitempty"`
	Totals totals  `json:"totals"`
}

type totals struct {
	Responses     int64 `json:"responses"`
	Resources     int64 `json:"resources"`
	Bytes         int64 `json:"bytes"`
	ResourceBytes int64 `json:"resource_bytes"`
}

// moments are the times at which sidecars came to something.
type moments struct {
	mu    sync.Mutex
	left  int
	times []float64
	done  chan struct{}
}

func newMoments(count int) *moments { return &moments{left: count, done: make(chan struct{})} }

func (m *moments) note(at float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.times = append(m.times, at)
	if m.left--; m.left == 0 {
		close(m.done)
	}
}

func (m *moments) sorted() []float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	sort.Float64s(m.times)
	return m.times
}

// expectation is that each of some sidecars gets a certain resource, or hears that it is gone.
type expectation struct {
	*moments
	given   command
	of      kind
	name    uint32
	payload atomic.Pointer[[]byte]
}

func (e *expectation) meets(number int, found *response) bool {
	return found.kind == e.of && e.given.means(number) && found.brings(e.name, e.given.Mark, e.given.Removed)
}

func (e *expectation) met(at float64, payload []byte) {
	e.payload.Store(&payload)
	e.note(at)
}

type swarm struct {
	sidecars  map[int]*sidecar
	expected  atomic.Pointer[expectation]
	joining   atomic.Pointer[moments]
	failures  chan error
	responses atomic.Int64
	resources atomic.Int64
	bytes     atomic.Int64
	content   atomic.Int64 // bytes of resources
	recording sync.Mutex
	recorded  [kinds][][]byte
	changes   [kinds][]byte
}

func (s *swarm) counted(found *response, size int) {
	s.responses.Add(1)
	s.resources.Add(int64(len(found.resources) + len(found.removed)))
	s.bytes.Add(int64(size))
	s.content.Add(found.resourceBytes)
}

func (s *swarm) totals() totals {
	return totals{s.responses.Load(), s.resources.Load(), s.bytes.Load(), s.content.Load()}
}

func (s *swarm) record(of kind, payload []byte) {
	s.recording.Lock()
	defer s.recording.Unlock()
	s.recorded[of] = append(s.recorded[of], payload)
}

func (s *swarm) configured(at float64) { s.joining.Load().note(at) }

func (s *swarm) chosen(given command) []*sidecar {
	var found []*sidecar
	for _, number := range given.numbers() {
		if each, ok := s.sidecars[number]; ok {
			found = append(found, each)
		}
	}
	return found
}

func (s *swarm) connect(given command) answer {
	begun := monotonic()
	joining := newMoments(given.Count)
	s.joining.Store(joining)
	if given.First == 0 && !given.Again {
		s.recorded = [kinds][][]byte{}
	}
	for _, number := range given.numbers() {
		one := s.sidecars[number]
		if one == nil || !given.Again {
			one = &sidecar{number: number}
			s.sidecars[number] = one
		}
		one.namespaces, one.least, one.ended = given.Namespaces, given.Least, make(chan struct{})
		ctx, cancel := context.WithCancel(context.Background())
		one.cancel = cancel
		go func() {
			if err := one.run(ctx, given.Addresses[number%len(given.Addresses)], given.Again, s); ctx.Err() == nil {
				s.failures <- fmt.Errorf("the stream of sidecar %d ended: %w", number, err)
			}
		}()
	}
	made := s.wait(joining, given.Within, func() string {
		for _, each := range s.chosen(given) {
			if !each.configured.Load() {
				return each.String()
			}
		}
		return ""
	})
	made.Begun = begun
	return made
}

func (s *swarm) wait(waiting *moments, within float64, missing func() string) answer {
	made := answer{}
	select {
	case <-waiting.done:
	case err := <-s.failures:
		return answer{Error: err.Error()}
	case <-time.After(time.Duration(within * float64(time.Second))):
		waiting.mu.Lock()
		left := waiting.left
		waiting.mu.Unlock()
		return answer{Error: fmt.Sprintf("%d sidecars are still waiting after %g s: %s", left, within, missing())}
	}
	times := waiting.sorted()
	made.First, made.Median, made.Last = times[0], times[len(times)/2], times[len(times)-1]
	made.Totals = s.totals()
	return made
}

func (s *swarm) leave(given command) answer {
	leaving := s.chosen(given)
	for _, each := range leaving {
		each.cancel()
	}
	for _, each := range leaving {
		<-each.ended
	}
	return answer{Totals: s.totals()}
}

func (s *swarm) expect(given command) answer {
	of, err := kindOf(given.TypeURL)
	if err != nil {
		return answer{Error: err.Error()}
	}
	s.expected.Store(&expectation{moments: newMoments(given.Count), given: given, of: of, name: names[of].number(given.Name)})
	return answer{Totals: s.totals()}
}

func (s *swarm) await(given command) answer {
	expected := s.expected.Load()
	if expected == nil {
		return answer{Error: "nothing is expected"}
	}
	made := s.wait(expected.moments, given.Within, func() string { return names[expected.of].text(expected.name) })
	if payload := expected.payload.Load(); payload != nil {
		s.changes[expected.of] = *payload
	}
	return made
}

// save writes what the first sidecar was sent until it was configured, and the last awaited response of each type.
func (s *swarm) save(given command) answer {
	s.recording.Lock()
	defer s.recording.Unlock()
	for of, typeURL := range typeURLs {
		name := typeURL[strings.LastIndexByte(typeURL, '.')+1:]
		files := map[string][]byte{}
		for number, payload := range s.recorded[of] {
			files[fmt.Sprintf("%s.%03d.first", name, number)] = payload
		}
		if change := s.changes[of]; change != nil {
			files[name+".change"] = change
		}
		for file, payload := range files {
			if err := os.WriteFile(filepath.Join(given.Folder, file), payload, 0o600); err != nil {
				return answer{Error: err.Error()}
			}
		}
	}
	return answer{Totals: s.totals()}
}

func (s *swarm) do(given command) answer {
	switch given.Do {
	case "connect":
		return s.connect(given)
	case "leave":
		return s.leave(given)
	case "expect":
		return s.expect(given)
	case "await":
		return s.await(given)
	case "pause", "resume":
		for _, each := range s.chosen(given) {
			if given.Do == "pause" {
				each.pause()
			} else {
				each.resume()
			}
		}
		return answer{Totals: s.totals()}
	case "save":
		return s.save(given)
	case "totals":
		return answer{Totals: s.totals()}
	default:
		return answer{Error: fmt.Sprintf("no such command: %q", given.Do)}
	}
}

func main() {
	own := &swarm{sidecars: map[int]*sidecar{}, failures: make(chan error, 1<<16)}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		given := command{Step: 1}
		made := answer{}
		if err := json.Unmarshal(lines.Bytes(), &given); err != nil {
			made.Error = err.Error()
		} else {
			made = own.do(given)
		}
		text, err := json.Marshal(made)
		if err != nil {
			panic(err)
		}
		fmt.Println(string(text))
	}
}
