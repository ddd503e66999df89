package app

import (
	"iter"
	"strconv"

	"github.com/livegate/livegate/internal/conn"
	"github.com/livegate/livegate/internal/connapi"
	"github.com/livegate/livegate/internal/fanout"
	"github.com/livegate/livegate/internal/gateway"
	"github.com/livegate/livegate/internal/meter"
	"github.com/livegate/livegate/internal/runtime"
	"github.com/livegate/livegate/internal/storage"
)

// The engines count for themselves; a series of theirs is one line below.

func (a *App) bindServer() {
	type sv = meter.Series[conn.Stats]
	one := func(name, value string) []meter.Label { return []meter.Label{{Name: name, Value: value}} }
	const (
		refused  = "Upgrades that got no 101."
		overflow = "Messages that found their connection's queue full; policy close counts connections."
		tlsHelp  = "TLS handshakes that ended."
		closes   = "WebSockets that ended, by what their close code means."
	)
	meter.Bind(a.metrics.reg, a.server.Stats,
		sv{Name: "livegate_sockets_accepted_total", Help: "TCP connections accepted.", Value: func(s conn.Stats) float64 { return float64(s.Accepted) }},
		sv{Name: "livegate_socket_accept_pauses_total", Help: "Times that accepting waited for descriptors or memory.", Value: func(s conn.Stats) float64 { return float64(s.AcceptPauses) }},
		sv{Name: "livegate_sockets_http_total", Help: "TCP connections that became ordinary HTTP.", Value: func(s conn.Stats) float64 { return float64(s.Web) }},
		sv{Name: "livegate_tls_handshakes_total", Help: tlsHelp, Labels: one("result", "done"), Value: func(s conn.Stats) float64 { return float64(s.TLS.Done) }},
		sv{Name: "livegate_tls_handshakes_total", Help: tlsHelp, Labels: one("result", "failed"), Value: func(s conn.Stats) float64 { return float64(s.TLS.Failed) }},
		sv{Name: "livegate_tls_handshakes_waited_total", Help: "TLS handshakes on event loops that waited for others to end.", Value: func(s conn.Stats) float64 { return float64(s.TLS.Waited) }},
		sv{Name: "livegate_tls_handshakes_stalled_total", Help: "TLS handshakes dropped because the client kept others waiting for a place.", Value: func(s conn.Stats) float64 { return float64(s.TLS.Stalled) }},
		sv{Name: "livegate_panics_total", Help: "Panics contained on a connection; each is in the log with its stack.", Value: func(s conn.Stats) float64 { return float64(s.Panics) }},
		sv{Name: "livegate_websockets_total", Help: "WebSockets opened.", Value: func(s conn.Stats) float64 { return float64(s.Handshakes) }},
		sv{Name: "livegate_websockets_open", Help: "WebSockets open.", Value: func(s conn.Stats) float64 { return float64(s.Open) }},
		sv{Name: "livegate_upgrades_refused_total", Help: refused, Labels: one("reason", "malformed"), Value: func(s conn.Stats) float64 { return float64(s.Refused.Head) }},
		sv{Name: "livegate_upgrades_refused_total", Help: refused, Labels: one("reason", "application"), Value: func(s conn.Stats) float64 { return float64(s.Refused.Upgrade) }},
		sv{Name: "livegate_upgrades_refused_total", Help: refused, Labels: one("reason", "rate"), Value: func(s conn.Stats) float64 { return float64(s.Refused.Rates) }},
		sv{Name: "livegate_upgrades_refused_total", Help: refused, Labels: one("reason", "stopping"), Value: func(s conn.Stats) float64 { return float64(s.Refused.Leaving) }},
		sv{Name: "livegate_socket_messages_received_total", Help: "WebSocket messages received.", Value: func(s conn.Stats) float64 { return float64(s.MessagesIn) }},
		sv{Name: "livegate_socket_received_bytes_total", Help: "Payload of those.", Value: func(s conn.Stats) float64 { return float64(s.BytesIn) }},
		sv{Name: "livegate_socket_controls_received_total", Help: "Control frames received.", Value: func(s conn.Stats) float64 { return float64(s.ControlsIn) }},
		sv{Name: "livegate_socket_messages_sent_total", Help: "WebSocket messages queued.", Value: func(s conn.Stats) float64 { return float64(s.MessagesOut) }},
		sv{Name: "livegate_socket_sent_bytes_total", Help: "Frames of those.", Value: func(s conn.Stats) float64 { return float64(s.BytesOut) }},
		sv{Name: "livegate_socket_writes_total", Help: "Writes to sockets.", Value: func(s conn.Stats) float64 { return float64(s.Writes) }},
		sv{Name: "livegate_socket_writes_stuck_total", Help: "Writes that a socket did not take whole: slow readers.", Value: func(s conn.Stats) float64 { return float64(s.Stuck) }},
		sv{Name: "livegate_queue_overflows_total", Help: overflow, Labels: one("policy", "refuse"), Value: func(s conn.Stats) float64 { return float64(s.Overflows.Refuse) }},
		sv{Name: "livegate_queue_overflows_total", Help: overflow, Labels: one("policy", "close"), Value: func(s conn.Stats) float64 { return float64(s.Overflows.Close) }},
		sv{Name: "livegate_queue_overflows_total", Help: overflow, Labels: one("policy", "drop-oldest"), Value: func(s conn.Stats) float64 { return float64(s.Overflows.DropOldest) }},
		sv{Name: "livegate_queue_overflows_total", Help: overflow, Labels: one("policy", "coalesce"), Value: func(s conn.Stats) float64 { return float64(s.Overflows.Coalesce) }},
		sv{Name: "livegate_closes_total", Help: closes, Labels: one("class", "normal"), Value: func(s conn.Stats) float64 { return float64(s.Closes.Normal) }},
		sv{Name: "livegate_closes_total", Help: closes, Labels: one("class", "going-away"), Value: func(s conn.Stats) float64 { return float64(s.Closes.GoingAway) }},
		sv{Name: "livegate_closes_total", Help: closes, Labels: one("class", "protocol"), Value: func(s conn.Stats) float64 { return float64(s.Closes.Protocol) }},
		sv{Name: "livegate_closes_total", Help: closes, Labels: one("class", "policy"), Value: func(s conn.Stats) float64 { return float64(s.Closes.Policy) }},
		sv{Name: "livegate_closes_total", Help: closes, Labels: one("class", "too-big"), Value: func(s conn.Stats) float64 { return float64(s.Closes.TooBig) }},
		sv{Name: "livegate_closes_total", Help: closes, Labels: one("class", "abnormal"), Value: func(s conn.Stats) float64 { return float64(s.Closes.Abnormal) }},
		sv{Name: "livegate_closes_total", Help: closes, Labels: one("class", "no-status"), Value: func(s conn.Stats) float64 { return float64(s.Closes.NoStatus) }},
		sv{Name: "livegate_closes_total", Help: closes, Labels: one("class", "server"), Value: func(s conn.Stats) float64 { return float64(s.Closes.Server) }},
		sv{Name: "livegate_closes_total", Help: closes, Labels: one("class", "other"), Value: func(s conn.Stats) float64 { return float64(s.Closes.Other) }},
		sv{Name: "livegate_heartbeats_lost_total", Help: "Connections closed because a ping found nobody.", Value: func(s conn.Stats) float64 { return float64(s.HeartbeatsLost) }},
		sv{Name: "livegate_loop_turns_total", Help: "Turns of the event loops.", Value: func(s conn.Stats) float64 { return float64(s.Turns) }},
		sv{Name: "livegate_loop_wakeups_total", Help: "Those of them after a sleep.", Value: func(s conn.Stats) float64 { return float64(s.Wakeups) }},
		sv{Name: "livegate_loop_overruns_total", Help: "Slices of work on a loop that took more than twice their time.", Value: func(s conn.Stats) float64 { return float64(s.Overruns) }},
	)
}

func (a *App) bindGateway() {
	type gw = meter.Series[gateway.Stats]
	reg := a.metrics.reg
	reg.GaugeFunc("livegate_connections_registered", "Connections known by id, those whose $connect runs included.", func() float64 { return float64(a.registry.Count()) })
	meter.Bind(reg, a.gateway.Stats,
		gw{Name: "livegate_connections_open", Help: "Connections between their 101 and their close.", Value: func(s gateway.Stats) float64 { return float64(s.Open) }},
		gw{Name: "livegate_connections_accepted_total", Help: "Handshakes answered 101.", Value: func(s gateway.Stats) float64 { return float64(s.Connects) }},
		gw{Name: "livegate_connections_refused_total", Help: "Handshakes that were refused.", Value: func(s gateway.Stats) float64 { return float64(s.Refused) }},
		gw{Name: "livegate_connections_vanished_total", Help: "Clients that were gone when their $connect had succeeded.", Value: func(s gateway.Stats) float64 { return float64(s.Vanished) }},
		gw{Name: "livegate_connections_closed_total", Help: "Connections that ended.", Value: func(s gateway.Stats) float64 { return float64(s.Disconnects) }},
		gw{Name: "livegate_messages_received_total", Help: "Messages from clients.", Value: func(s gateway.Stats) float64 { return float64(s.Messages) }},
		gw{Name: "livegate_messages_instant_total", Help: "Messages answered in place, without waiting for anything.", Value: func(s gateway.Stats) float64 { return float64(s.Instant) }},
		gw{Name: "livegate_messages_unrouted_total", Help: "Messages that no route took.", Value: func(s gateway.Stats) float64 { return float64(s.Forbidden) }},
		gw{Name: "livegate_messages_in_flight", Help: "Messages that wait or run, $disconnect included.", Value: func(s gateway.Stats) float64 { return float64(s.InFlight) }},
		gw{Name: "livegate_replies_sent_total", Help: "Two-way replies queued for clients.", Value: func(s gateway.Stats) float64 { return float64(s.Replies) }},
		gw{Name: "livegate_frames_dropped_total", Help: "Frames lost to a full queue or a closed connection: replies, error frames, channel messages.", Value: func(s gateway.Stats) float64 { return float64(s.Dropped) }},
		gw{Name: "livegate_channel_joins_total", Help: "Subscriptions to channels that routes made.", Value: func(s gateway.Stats) float64 { return float64(s.Joins) }},
		gw{Name: "livegate_channel_leaves_total", Help: "Subscriptions that routes undid.", Value: func(s gateway.Stats) float64 { return float64(s.Leaves) }},
		gw{Name: "livegate_channel_publishes_total", Help: "Messages that routes published to channels.", Value: func(s gateway.Stats) float64 { return float64(s.Publishes) }},
		gw{Name: "livegate_channel_deliveries_total", Help: "Channel messages queued for a client.", Value: func(s gateway.Stats) float64 { return float64(s.Deliveries) }},
		gw{Name: "livegate_messages_invalid_total", Help: "Messages that their model did not fit.", Value: func(s gateway.Stats) float64 { return float64(s.Invalid) }},
		gw{Name: "livegate_throttled_total", Help: "Handshakes and messages over a limit of the account, a stage, a route or a usage plan.", Value: func(s gateway.Stats) float64 { return float64(s.Throttled) }},
		gw{Name: "livegate_route_errors_total", Help: "Routes whose integration failed, $connect and $disconnect included.", Value: func(s gateway.Stats) float64 { return float64(s.Errors) }},
	)
}

// bindMetrics gives what CloudWatch would count, under its names in Prometheus's form.
func (a *App) bindMetrics() {
	type cw = meter.Series[gateway.Metric]
	meter.BindRows(a.metrics.reg, []string{"api_id", "stage", "route"}, func() iter.Seq2[[]string, gateway.Metric] {
		return func(yield func([]string, gateway.Metric) bool) {
			for _, m := range a.gateway.Metrics() {
				if !yield([]string{m.APIID, m.Stage, m.Route}, m) {
					return
				}
			}
		}
	},
		cw{Name: "livegate_apigateway_connect_count_total", Help: "ConnectCount: calls of the $connect integration.", Value: func(m gateway.Metric) float64 { return float64(m.ConnectCount) }},
		cw{Name: "livegate_apigateway_message_count_total", Help: "MessageCount: messages from clients and replies to them.", Value: func(m gateway.Metric) float64 { return float64(m.MessageCount) }},
		cw{Name: "livegate_apigateway_integration_error_total", Help: "IntegrationError: integrations that answered 4xx or 5xx.", Value: func(m gateway.Metric) float64 { return float64(m.IntegrationError) }},
		cw{Name: "livegate_apigateway_client_error_total", Help: "ClientError: requests refused before the integration.", Value: func(m gateway.Metric) float64 { return float64(m.ClientError) }},
		cw{Name: "livegate_apigateway_execution_error_total", Help: "ExecutionError: integrations that could not be called.", Value: func(m gateway.Metric) float64 { return float64(m.ExecutionError) }},
		cw{Name: "livegate_apigateway_integration_latency_seconds_total", Help: "IntegrationLatency, summed.", Value: func(m gateway.Metric) float64 { return m.IntegrationLatency.Seconds() }},
		cw{Name: "livegate_apigateway_integration_calls_total", Help: "Calls that IntegrationLatency is the sum of.", Value: func(m gateway.Metric) float64 { return float64(m.IntegrationCount) }},
	)
	a.metrics.reg.CounterFunc("livegate_access_log_lines_lost_total", "Access log lines that the file could not take.", func() float64 {
		if a.accesses == nil {
			return 0
		}
		return float64(a.accesses.lost.Load())
	})
}

func (a *App) bindChannels() {
	type ch = meter.Series[fanout.Stats]
	meter.Bind(a.metrics.reg, a.channels.stats,
		ch{Name: "livegate_channels_open", Help: "Different channels and wildcards that somebody subscribes to.", Value: func(s fanout.Stats) float64 { return float64(s.Filters) }},
		ch{Name: "livegate_channel_subscriptions", Help: "Subscriptions to those.", Value: func(s fanout.Stats) float64 { return float64(s.Subscriptions) }},
		ch{Name: "livegate_channel_messages_refused_total", Help: "Messages refused because too many were waiting to be delivered.", Value: func(s fanout.Stats) float64 { return float64(s.Refused) }},
		ch{Name: "livegate_channel_messages_pending", Help: "Messages that some event loop has yet to deliver.", Value: func(s fanout.Stats) float64 { return float64(s.Pending) }},
	)
}

func (a *App) bindCallbacks(stats func() connapi.Stats) {
	type cb = meter.Series[connapi.Stats]
	const help = "Requests to @connections."
	method := func(name string) []meter.Label { return []meter.Label{{Name: "method", Value: name}} }
	meter.Bind(a.metrics.reg, stats,
		cb{Name: "livegate_callbacks_total", Help: help, Labels: method("POST"), Value: func(s connapi.Stats) float64 { return float64(s.Posts) }},
		cb{Name: "livegate_callbacks_total", Help: help, Labels: method("GET"), Value: func(s connapi.Stats) float64 { return float64(s.Gets) }},
		cb{Name: "livegate_callbacks_total", Help: help, Labels: method("DELETE"), Value: func(s connapi.Stats) float64 { return float64(s.Deletes) }},
		cb{Name: "livegate_callbacks_total", Help: help, Labels: method("other"), Value: func(s connapi.Stats) float64 { return float64(s.Others) }},
		cb{Name: "livegate_callbacks_hot_total", Help: "Those of them that an event loop answered itself.", Value: func(s connapi.Stats) float64 { return float64(s.Hot) }},
	)
	meter.BindEach(a.metrics.reg, "status", func() iter.Seq2[string, int64] {
		return func(yield func(string, int64) bool) {
			for status, n := range stats().Status { // a fixed set of statuses
				if !yield(strconv.Itoa(status), n) {
					return
				}
			}
		}
	}, meter.Series[int64]{Name: "livegate_callback_answers_total", Help: "Answers to those, by HTTP status.", Value: func(n int64) float64 { return float64(n) }})
}

func (a *App) bindFunctions() {
	type (
		fn = meter.Series[runtime.Status]
		rt = meter.Series[runtime.Stats]
	)
	reg := a.metrics.reg
	meter.BindEach(reg, "function", a.eachFunction,
		fn{Name: "livegate_function_invocations_total", Help: "Invocations that finished, failures included.", Value: func(s runtime.Status) float64 { return float64(s.Invocations) }},
		fn{Name: "livegate_function_errors_total", Help: "Invocations that finished with a function error.", Value: func(s runtime.Status) float64 { return float64(s.Errors) }},
		fn{Name: "livegate_function_throttles_total", Help: "Invocations refused because the queue was full or the wait too long.", Value: func(s runtime.Status) float64 { return float64(s.Throttled) }},
		fn{Name: "livegate_function_cold_starts_total", Help: "Workers that were started and became ready.", Value: func(s runtime.Status) float64 { return float64(s.ColdStarts) }},
		fn{Name: "livegate_function_workers", Help: "Workers that start, idle or work.", Value: func(s runtime.Status) float64 { return float64(s.Workers) }},
		fn{Name: "livegate_function_workers_busy", Help: "Workers with an invocation.", Value: func(s runtime.Status) float64 { return float64(s.Busy) }},
		fn{Name: "livegate_function_queued", Help: "Invocations that wait for a worker.", Value: func(s runtime.Status) float64 { return float64(s.Queued) }},
	)
	meter.Bind(reg, a.runtime.Stats,
		rt{Name: "livegate_async_events", Help: "Asynchronous invocations that wait, for a retry too, or run.", Value: func(s runtime.Stats) float64 { return float64(s.AsyncEvents) }},
		rt{Name: "livegate_async_events_bytes", Help: "Payload bytes of those.", Value: func(s runtime.Stats) float64 { return float64(s.AsyncBytes) }},
	)
}

func (a *App) bindStorage() {
	type st = meter.Series[storage.Stats]
	reg := a.metrics.reg
	meter.Bind(reg, a.db.Stats,
		st{Name: "livegate_storage_commits_total", Help: "Transactions written to disk.", Value: func(s storage.Stats) float64 { return float64(s.Commits) }},
		st{Name: "livegate_storage_updates_total", Help: "Changes that those carried: one commit takes all that wait.", Value: func(s storage.Stats) float64 { return float64(s.Updates) }},
		st{Name: "livegate_storage_failures_total", Help: "Transactions that could not be written.", Value: func(s storage.Stats) float64 { return float64(s.Failures) }},
		st{Name: "livegate_storage_log_bytes", Help: "Length of the log files beside the state file, room included.", Value: func(s storage.Stats) float64 { return float64(s.LogBytes) }},
		st{Name: "livegate_storage_file_bytes", Help: "Length of the state file.", Value: func(s storage.Stats) float64 { return float64(s.FileBytes) }},
	)
	if a.tables == nil {
		return // they are counted where they are
	}
	reg.GaugeFunc("livegate_tables", "Tables.", func() float64 { return float64(len(a.tables.Tables())) })
}

// eachFunction are the functions by name; the template bounds them.
func (a *App) eachFunction() iter.Seq2[string, runtime.Status] {
	return func(yield func(string, runtime.Status) bool) {
		for _, f := range a.runtime.Functions() {
			if !yield(f.Name, f) {
				return
			}
		}
	}
}
