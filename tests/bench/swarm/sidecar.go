// One simulated sidecar: what an Envoy says on a Delta stream, on a connection of its own.
package main

import (
	"context"
	"fmt"
	"hash/maphash"
	"net"
	"sync"
	"sync/atomic"
	"unsafe"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

const (
	method           = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
	streamWindow     = 16 << 20 // Envoy's, in bytes
	connectionWindow = 24 << 20
	little           = 1 << 16 // what a connection takes that is not read
)

// raw is the codec of messages that are bytes already.
type raw struct{}

func (raw) Name() string { return "proto" }

func (raw) Marshal(value any) ([]byte, error) { return value.([]byte), nil }

func (raw) Unmarshal(data []byte, value any) error {
	*value.(*[]byte) = append([]byte(nil), data...)
	return nil
}

// pausing is a connection that can be left unread, as by a sidecar that hangs.
type pausing struct {
	*net.TCPConn
	gate *sync.RWMutex
}

func (p pausing) Read(into []byte) (int, error) {
	p.gate.RLock()
	p.gate.RUnlock() // locked as long as it is paused
	return p.TCPConn.Read(into)
}

type sidecar struct {
	number     int
	namespaces int
	least      int // clusters' assignments and virtual hosts that it has when it is configured
	gate       sync.RWMutex
	socket     atomic.Pointer[net.TCPConn]
	cancel     context.CancelFunc
	ended      chan struct{}
	configured atomic.Bool // written by its own stream alone

	// Kept for the next stream, as Envoy does: the number of the version of each resource, by the number of its name.
	held   [kinds][]uint32
	tables map[string]bool // route configurations whose virtual hosts come by VHDS: whether any have come

	// Of this stream.
	answered  [kinds]bool
	asked     [kinds]bool
	outgoing  [kinds]int // names that are awaited
	count     [kinds]int // resources that are held
	satisfied *expectation
}

func (s *sidecar) node() *core.Node {
	namespace := fmt.Sprintf("ns%d", s.number%s.namespaces)
	address := fmt.Sprintf("10.250.%d.%d", s.number/250, s.number%250+1)
	pod := fmt.Sprintf("p%d", s.number)
	metadata, _ := structpb.NewStruct(map[string]any{
		"NAMESPACE": namespace, "LABELS": map[string]any{"app": pod}, "INTERCEPTION_MODE": "REDIRECT",
	})
	id := fmt.Sprintf("sidecar~%s~%s.%s~%s.svc.cluster.local", address, pod, namespace, namespace)
	return &core.Node{Id: id, Metadata: metadata}
}

// run speaks until the stream ends; `again`: with what it has from the stream before.
func (s *sidecar) run(ctx context.Context, address string, again bool, of *swarm) error {
	defer close(s.ended)
	dial := func(ctx context.Context, where string) (net.Conn, error) {
		var dialer net.Dialer
		made, err := dialer.DialContext(ctx, "tcp", where)
		if err != nil {
			return nil, err
		}
		s.socket.Store(made.(*net.TCPConn))
		return pausing{made.(*net.TCPConn), &s.gate}, nil
	}
	channel, err := grpc.NewClient("passthrough:///"+address,
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithContextDialer(dial), grpc.WithNoProxy(),
		grpc.WithInitialWindowSize(streamWindow), grpc.WithInitialConnWindowSize(connectionWindow),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(raw{}), grpc.MaxCallRecvMsgSize(1<<30), grpc.WaitForReady(true)))
	if err != nil {
		return err
	}
	defer channel.Close()
	stream, err := channel.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
	if err != nil {
		return err
	}
	if err := s.begin(stream, again); err != nil {
		return err
	}
	for {
		var payload []byte
		if err := stream.RecvMsg(&payload); err != nil {
			return err
		}
		if err := s.receive(stream, payload, monotonic(), of); err != nil {
			return err
		}
	}
}

func (s *sidecar) begin(stream grpc.ClientStream, again bool) error {
	s.answered, s.asked, s.outgoing = [kinds]bool{}, [kinds]bool{}, [kinds]int{}
	s.configured.Store(false)
	if !again {
		s.held, s.count, s.tables = [kinds][]uint32{}, [kinds]int{}, map[string]bool{}
	}
	node, err := proto.Marshal(&discovery.DeltaDiscoveryRequest{Node: s.node()})
	if err != nil {
		return err
	}
	for _, each := range []kind{clusters, assignments, listeners, routes, hosts} {
		first := each == clusters || each == listeners
		if !first && s.count[each] == 0 {
			continue
		}
		request, err := s.opening(each)
		if err != nil {
			return err
		}
		if each == clusters {
			request = append(append([]byte(nil), node...), request...) // one message, as fields may stand in any order
		}
		s.asked[each] = true
		if err := stream.SendMsg(request); err != nil {
			return err
		}
	}
	return nil
}

var openings sync.Map // of sidecars that hold the same: their requests

// opening returns the first request of a type: with what is held of it.
func (s *sidecar) opening(of kind) ([]byte, error) {
	var hash maphash.Hash
	hash.SetSeed(seed)
	hash.WriteByte(byte(of))
	if held := s.held[of]; len(held) > 0 {
		hash.Write(unsafe.Slice((*byte)(unsafe.Pointer(&held[0])), len(held)*4))
	}
	key := hash.Sum64()
	if found, ok := openings.Load(key); ok {
		return found.([]byte), nil
	}
	request := discovery.DeltaDiscoveryRequest{TypeUrl: typeURLs[of], InitialResourceVersions: map[string]string{}}
	for name, version := range s.held[of] {
		if version > awaited {
			text := names[of].text(uint32(name))
			request.InitialResourceVersions[text] = versions.text(version)
			if of == assignments || of == routes {
				request.ResourceNamesSubscribe = append(request.ResourceNamesSubscribe, text)
			}
		}
	}
	made, err := proto.Marshal(&request)
	openings.Store(key, made)
	return made, err
}

func (s *sidecar) receive(stream grpc.ClientStream, payload []byte, at float64, of *swarm) error {
	found, nonce, err := parsed(payload)
	if err != nil {
		return err
	}
	of.counted(found, len(payload))
	if s.number == 0 && !s.configured.Load() {
		of.record(found.kind, payload)
	}
	ack, err := proto.Marshal(&discovery.DeltaDiscoveryRequest{TypeUrl: typeURLs[found.kind], ResponseNonce: nonce})
	if err != nil {
		return err
	}
	if err := stream.SendMsg(ack); err != nil {
		return err
	}
	if err := s.take(stream, found); err != nil {
		return err
	}
	if expected := of.expected.Load(); expected != nil && s.satisfied != expected && expected.meets(s.number, found) {
		s.satisfied = expected
		expected.met(at, payload)
	}
	if !s.configured.Load() && s.complete() {
		s.configured.Store(true)
		of.configured(at)
	}
	return nil
}

// take keeps what has come, and asks for what it leads to.
func (s *sidecar) take(stream grpc.ClientStream, found *response) error {
	s.answered[found.kind] = true
	for _, each := range found.resources {
		s.hold(found.kind, each.name, each.version)
	}
	for _, name := range found.removed {
		s.hold(found.kind, name, 0)
	}
	switch found.kind {
	case hosts:
		for _, table := range found.tables {
			s.tables[table] = true
		}
	case clusters, listeners:
		if err := s.drop(stream, found); err != nil {
			return err
		}
		return s.ask(stream, found)
	case routes:
		for _, table := range found.tables {
			s.tables[table] = s.tables[table]
		}
		if len(s.tables) > 0 && !s.asked[hosts] {
			s.asked[hosts] = true
			request, err := subscription(hosts, nil)
			if err != nil {
				return err
			}
			return stream.SendMsg(request)
		}
	}
	return nil
}

func (s *sidecar) hold(of kind, name, version uint32) {
	held := s.held[of]
	if need := int(name) + 1; need > len(held) {
		held = append(held, make([]uint32, max(need, 2*len(held))-len(held))...)
		s.held[of] = held
	}
	before := held[name]
	if before == awaited {
		s.outgoing[of]--
	}
	switch {
	case before <= awaited && version > awaited:
		s.count[of]++
	case before > awaited && version <= awaited:
		s.count[of]--
	}
	if version == awaited {
		s.outgoing[of]++
	}
	held[name] = version
}

func (s *sidecar) ask(stream grpc.ClientStream, found *response) error {
	next := found.kind + 1
	var fresh []uint32
	for _, name := range found.leadsTo {
		if int(name) >= len(s.held[next]) || s.held[next][name] == 0 {
			s.hold(next, name, awaited)
			fresh = append(fresh, name)
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	request := found.subscription
	if len(fresh) < len(found.leadsTo) {
		made, err := subscription(next, fresh)
		if err != nil {
			return err
		}
		request = made
	}
	s.asked[next] = true
	return stream.SendMsg(request)
}

// drop asks no more for the assignments of clusters that are gone; they have the clusters' names.
func (s *sidecar) drop(stream grpc.ClientStream, found *response) error {
	if found.kind != clusters || len(found.removed) == 0 {
		return nil
	}
	request := discovery.DeltaDiscoveryRequest{TypeUrl: typeURLs[assignments]}
	for _, name := range found.removed {
		text := names[clusters].text(name)
		s.hold(assignments, names[assignments].number(text), 0)
		request.ResourceNamesUnsubscribe = append(request.ResourceNamesUnsubscribe, text)
	}
	made, err := proto.Marshal(&request)
	if err != nil {
		return err
	}
	return stream.SendMsg(made)
}

func (s *sidecar) complete() bool {
	if !s.answered[clusters] || !s.answered[listeners] || s.outgoing[assignments] > 0 || s.outgoing[routes] > 0 {
		return false
	}
	for _, filled := range s.tables {
		if !filled {
			return false
		}
	}
	return s.count[assignments] >= s.least && s.count[hosts] >= s.least && (!s.asked[hosts] || s.answered[hosts])
}

func (s *sidecar) String() string {
	return fmt.Sprintf("sidecar %d holds %v of %v, %d assignments and %d route configurations are awaited, answered: %v",
		s.number, s.count, s.least, s.outgoing[assignments], s.outgoing[routes], s.answered)
}

func (s *sidecar) pause() {
	s.gate.Lock()
	if socket := s.socket.Load(); socket != nil {
		socket.SetReadBuffer(little)
	}
}

func (s *sidecar) resume() { s.gate.Unlock() }
