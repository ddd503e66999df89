//go:build linux

package main

import "strings"

// A scenario is one run of the generator, the same for every server in it.
type scenario struct {
	name    string
	what    string
	mode    string
	flags   []string
	quick   []string            // added by -quick: less of the same
	servers []string            // the first is ours, those of the goals next
	extra   map[string][]string // a server's own flags
}

// userAgent is 120 bytes, as browsers' are.
var userAgent = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36 " + strings.Repeat("x", 120)

func agentHeader() string { return "User-Agent: " + userAgent[:120] }

// scenarios are the rows of the goals table, in order.
func scenarios() []scenario {
	idle := []string{"-steps", "1000,5000,10000,15000,19000", "-settle", "2s", "-header", agentHeader()}
	lessIdle := []string{"-steps", "1000,4000,8000,12000", "-settle", "500ms"}
	offer := agentHeader() + `\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits`
	short := []string{"-warm", "500ms", "-time", "1s"}
	measured := []string{"-warm", "1s", "-time", "3s"}
	with := func(flags ...string) []string { return append(flags, measured...) }
	return []scenario{
		{name: "idle", what: "1 to 19 thousand connections that only stay", mode: "idle", flags: idle, quick: lessIdle,
			servers: []string{"livegate", "floor", "nchan", "ws", "nats", "centrifugo"}},
		{name: "idle-deflate", what: "the same, offering permessage-deflate", mode: "idle", quick: lessIdle,
			flags: append(idle[:len(idle)-1:len(idle)-1], offer), servers: []string{"livegate"}},
		{name: "fanout", what: "5 000 subscribers, one message in flight", mode: "fanout", flags: with("-n", "5000", "-window", "1"), quick: short,
			servers: []string{"livegate", "floor", "nchan", "ws", "nats", "centrifugo"}},
		{name: "batched", what: "1 000 subscribers, 16 messages in flight", mode: "fanout", flags: with("-n", "1000", "-window", "16"), quick: short,
			servers: []string{"livegate", "floor", "nchan", "ws", "nats", "centrifugo"}},
		{name: "echo", what: "200 connections, each asks when it was answered", mode: "echo", flags: with("-n", "200"), quick: short,
			servers: []string{"livegate", "floor", "ws", "nats", "centrifugo"}},
		{name: "post", what: "8 HTTP clients post to 1 000 connections", mode: "post", flags: with("-n", "1000", "-posters", "8"), quick: short,
			servers: []string{"livegate", "nchan", "centrifugo"}, extra: map[string][]string{"livegate": {"-key", "looks"}}},
		{name: "post-verified", what: "the same, signed and verified", mode: "post", flags: with("-n", "1000", "-posters", "8"), quick: short,
			servers: []string{"livegate-signed"}},
		{name: "fairness", what: "200 connections ask beside a fan-out to 15 000", mode: "fairness",
			flags: []string{"-n", "15000", "-control", "200", "-control-rate", "1000", "-quiet", "2s", "-time", "5s"},
			quick: []string{"-n", "4000", "-quiet", "1s", "-time", "2s"}, servers: []string{"livegate"}},
		{name: "wss-idle", what: "1 to 9 thousand connections over TLS", mode: "idle",
			flags: []string{"-steps", "1000,3000,5000,7000,9000", "-settle", "2s", "-header", agentHeader()},
			quick: []string{"-steps", "500,1000,2000,3000", "-settle", "500ms"}, servers: []string{"livegate-wss", "nginx-wss", "haproxy-wss"}},
		{name: "wss-echo", what: "200 connections over TLS, closed loop", mode: "echo", flags: with("-n", "200"), quick: short,
			servers: []string{"livegate-wss", "nginx-wss", "haproxy-wss"}},
	}
}

// goal is a row of the goals table.
type goal struct {
	metric   string
	scenario string
	key      string  // in a run's metrics
	peerKey  string  // the peer's, when another is meant
	unit     string  // how to show it
	scale    float64 // of key, for unit
	most     float64 // absolute, in unit; 0 for none
	least    float64 // absolute, in unit; 0 for none
	peer     string  // the ratio's base; "" for none
	ratio    float64 // at most so many times the peer; 0: shown, not judged
	text     string  // the goal in words
}

// goals are what the project promises; ARCHITECTURE.md §5 has them.
func goals() []goal {
	return []goal{
		{metric: "idle memory per connection", scenario: "idle", key: "bytes_per_conn", unit: "B", most: 1000, peer: "floor", text: "≤ 1.0 kB"},
		{metric: "… offering permessage-deflate", scenario: "idle-deflate", key: "bytes_per_conn", unit: "B", most: 1000, text: "≤ 1.0 kB"},
		{metric: "handshake", scenario: "idle", key: "handshake_cpu_us", unit: "µs", most: 40, peer: "floor", text: "≤ 40 µs"},
		{metric: "fan-out, one in flight", scenario: "fanout", key: "srv_cpu_us", unit: "µs", peer: "floor", ratio: 1.15, text: "≤ 1.15 × floor"},
		{metric: "fan-out, batched", scenario: "batched", key: "srv_cpu_us", unit: "µs", most: 1, peer: "floor", text: "≤ 1.0 µs"},
		{metric: "echo through MOCK", scenario: "echo", key: "srv_cpu_us", unit: "µs", peer: "floor", ratio: 1.25, text: "≤ 1.25 × floor"},
		{metric: "@connections POST", scenario: "post", key: "srv_cpu_us", unit: "µs", most: 24, peer: "nchan", text: "≤ 24 µs"},
		{metric: "… posts per second and core", scenario: "post", key: "per_s", unit: "k/s", scale: 1e-3, least: 25, peer: "nchan", text: "≥ 25 k/s"},
		{metric: "… signature verified", scenario: "post-verified", key: "srv_cpu_us", unit: "µs", most: 32, text: "≤ 32 µs"},
		{metric: "echo p99 beside a fan-out", scenario: "fairness", key: "p99_us", unit: "ms", scale: 1e-3, most: 5, text: "≤ 5 ms"},
		{metric: "wss idle memory", scenario: "wss-idle", key: "bytes_per_conn", unit: "kB", scale: 1e-3, most: 10, peer: "nginx-wss", text: "≤ 10 kB"},
		{metric: "wss handshake", scenario: "wss-idle", key: "handshake_cpu_us", peerKey: "handshake_front_us", unit: "µs", peer: "nginx-wss", ratio: 1, text: "≤ nginx alone"},
		{metric: "… nginx and what it serves", scenario: "wss-idle", key: "handshake_cpu_us", unit: "µs", peer: "nginx-wss", text: "–"},
		{metric: "wss echo", scenario: "wss-echo", key: "srv_cpu_us", peerKey: "front_cpu_us", unit: "µs", peer: "nginx-wss", ratio: 1, text: "≤ nginx alone"},
		{metric: "… nginx and what it serves", scenario: "wss-echo", key: "srv_cpu_us", unit: "µs", peer: "nginx-wss", text: "–"},
	}
}

// needed are a scenario's servers without which its goals have no verdict: ours,
// and those that the goals compare with.
func (s *scenario) needed() []string {
	all := []string{s.servers[0]}
	for _, g := range goals() {
		if g.scenario == s.name && g.ratio > 0 {
			all = append(all, g.peer)
		}
	}
	return all
}
