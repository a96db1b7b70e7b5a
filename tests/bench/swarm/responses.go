// What matters of responses. Sidecars that see the same are sent the same bytes but for the nonce, so each content is looked at once,
// and what is kept of it is shared.
package main

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"sync"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

type kind int

const (
	clusters kind = iota
	assignments
	listeners
	routes
	hosts
	kinds
)

const configs = "type.googleapis.com/envoy.config."

var typeURLs = [kinds]string{
	configs + "cluster.v3.Cluster",
	configs + "endpoint.v3.ClusterLoadAssignment",
	configs + "listener.v3.Listener",
	configs + "route.v3.RouteConfiguration",
	configs + "route.v3.VirtualHost",
}

func kindOf(typeURL string) (kind, error) {
	for each, known := range typeURLs {
		if known == typeURL {
			return kind(each), nil
		}
	}
	return 0, fmt.Errorf("a response of type %q, which was not asked for", typeURL)
}

// numbering gives each text a number, so that what sidecars hold is arrays of numbers. 0 is no text, 1 is awaited.
type numbering struct {
	mu      sync.Mutex
	numbers map[string]uint32
	texts   []string
}

const awaited = 1

func newNumbering() *numbering {
	return &numbering{numbers: map[string]uint32{}, texts: []string{"", ""}}
}

func (n *numbering) number(text string) uint32 {
	n.mu.Lock()
	defer n.mu.Unlock()
	if found, ok := n.numbers[text]; ok {
		return found
	}
	made := uint32(len(n.texts))
	n.numbers[text] = made
	n.texts = append(n.texts, text)
	return made
}

func (n *numbering) text(number uint32) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.texts[number]
}

var (
	names    [kinds]*numbering
	versions = newNumbering()
)

func init() {
	for each := range names {
		names[each] = newNumbering()
	}
}

type resource struct {
	name, version uint32
	body          []byte
}

// response is what matters of a DeltaDiscoveryResponse, but for its nonce.
type response struct {
	kind          kind
	resources     []resource
	removed       []uint32
	resourceBytes int64
	leadsTo       []uint32 // the names of the next kind: assignments of clusters, route configurations of listeners
	subscription  []byte   // a request for all of them
	tables        []string // the route configurations in it whose virtual hosts come by VHDS, or which its virtual hosts belong to
}

// brings says whether the response has the resource `name` with `mark` in its bytes, or removes it.
func (r *response) brings(name uint32, mark []byte, removed bool) bool {
	if removed {
		for _, each := range r.removed {
			if each == name {
				return true
			}
		}
		return false
	}
	for _, each := range r.resources {
		if each.name == name {
			return bytes.Contains(each.body, mark)
		}
	}
	return false
}

const (
	fieldNonce = 5
	cacheBytes = 1 << 29 // of all responses that are remembered: then they are forgotten, and looked at again
)

var cache = struct {
	mu        sync.Mutex
	responses map[uint64]*response
	insides   map[uint64][]string // of each cluster, listener and route configuration: what it leads to
	bytes     int
}{responses: map[uint64]*response{}, insides: map[uint64][]string{}}

var seed = maphash.MakeSeed()

// parsed returns what matters of `raw`, and its nonce.
func parsed(raw []byte) (*response, string, error) {
	from, to, nonce, err := nonceIn(raw)
	if err != nil {
		return nil, "", err
	}
	var hash maphash.Hash
	hash.SetSeed(seed)
	hash.Write(raw[:from])
	hash.Write(raw[to:])
	key := hash.Sum64()
	cache.mu.Lock()
	defer cache.mu.Unlock()
	if found, ok := cache.responses[key]; ok {
		return found, nonce, nil
	}
	if cache.bytes += len(raw); cache.bytes > cacheBytes {
		clear(cache.responses)
		cache.bytes = len(raw)
	}
	made, err := read(raw)
	if err != nil {
		return nil, "", err
	}
	cache.responses[key] = made
	return made, nonce, nil
}

func nonceIn(raw []byte) (from, to int, nonce string, err error) {
	for at := 0; at < len(raw); {
		field, wire, tag := protowire.ConsumeTag(raw[at:])
		if tag < 0 {
			return 0, 0, "", protowire.ParseError(tag)
		}
		size := protowire.ConsumeFieldValue(field, wire, raw[at+tag:])
		if size < 0 {
			return 0, 0, "", protowire.ParseError(size)
		}
		if field == fieldNonce {
			value, _ := protowire.ConsumeString(raw[at+tag:])
			return at, at + tag + size, value, nil
		}
		at += tag + size
	}
	return 0, 0, "", fmt.Errorf("a response without a nonce")
}

func read(raw []byte) (*response, error) {
	var message discovery.DeltaDiscoveryResponse
	if err := proto.Unmarshal(raw, &message); err != nil {
		return nil, err
	}
	of, err := kindOf(message.TypeUrl)
	if err != nil {
		return nil, err
	}
	made := &response{kind: of}
	for _, each := range message.Resources {
		body := each.GetResource().GetValue()
		made.resources = append(made.resources, resource{names[of].number(each.Name), versions.number(each.Version), body})
		made.resourceBytes += int64(len(body))
		switch inside := insideOf(of, body); of {
		case clusters, listeners:
			for _, name := range inside {
				made.leadsTo = append(made.leadsTo, names[of+1].number(name))
			}
		case routes:
			made.tables = append(made.tables, inside...)
		case hosts:
			table := each.Name[:max(0, strings.LastIndexByte(each.Name, '/'))]
			if !slices.Contains(made.tables, table) {
				made.tables = append(made.tables, table)
			}
		}
	}
	for _, name := range message.RemovedResources {
		made.removed = append(made.removed, names[of].number(name))
	}
	if len(made.leadsTo) > 0 {
		made.subscription, err = subscription(of+1, made.leadsTo)
	}
	return made, err
}

func subscription(of kind, wanted []uint32) ([]byte, error) {
	request := discovery.DeltaDiscoveryRequest{TypeUrl: typeURLs[of]}
	for _, each := range wanted {
		request.ResourceNamesSubscribe = append(request.ResourceNamesSubscribe, names[of].text(each))
	}
	return proto.Marshal(&request)
}

func insideOf(of kind, body []byte) []string {
	if of == assignments || of == hosts {
		return nil
	}
	var hash maphash.Hash
	hash.SetSeed(seed)
	hash.WriteByte(byte(of))
	hash.Write(body)
	key := hash.Sum64()
	found, ok := cache.insides[key]
	if !ok {
		found = inside(of, body)
		cache.insides[key] = found
	}
	return found
}

func inside(of kind, body []byte) []string {
	switch of {
	case clusters:
		return assignmentOf(body)
	case listeners:
		return routesOf(body)
	default:
		return tableOf(body)
	}
}

func assignmentOf(body []byte) []string {
	var found cluster.Cluster
	if proto.Unmarshal(body, &found) != nil || found.GetType() != cluster.Cluster_EDS {
		return nil
	}
	if name := found.GetEdsClusterConfig().GetServiceName(); name != "" {
		return []string{name}
	}
	return []string{found.Name}
}

func routesOf(body []byte) []string {
	var found listener.Listener
	if proto.Unmarshal(body, &found) != nil {
		return nil
	}
	var named []string
	for _, chain := range append(found.FilterChains, found.DefaultFilterChain) {
		for _, filter := range chain.GetFilters() {
			var manager hcm.HttpConnectionManager
			typed := filter.GetTypedConfig()
			if !strings.HasSuffix(typed.GetTypeUrl(), "HttpConnectionManager") || proto.Unmarshal(typed.Value, &manager) != nil {
				continue
			}
			if manager.GetRds() != nil {
				named = append(named, manager.GetRds().RouteConfigName)
			}
		}
	}
	return named
}

func tableOf(body []byte) []string {
	var found route.RouteConfiguration
	if proto.Unmarshal(body, &found) != nil || found.Vhds == nil {
		return nil
	}
	return []string{found.Name}
}
