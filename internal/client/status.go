package client

import (
	"encoding/json"
	"time"

	"github.com/livegate/livegate/internal/model"
)

// Status is what an instance runs: the answer of GET /_livegate/api/status and of
// `livegate status --json`. Stable: fields are added, never renamed or removed.
// Lists and Outputs are never null in JSON.
type Status struct {
	Stack       string `json:"stack"`
	Region      string `json:"region"`
	AccountID   string `json:"accountId"`
	EndpointURL string `json:"endpointUrl"` // for AWS_ENDPOINT_URL of any SDK
	CAFile      string `json:"caFile"`      // PEM, absolute path
	// DomainCAFile is the PEM of the CA that custom domains are signed with, which
	// may name nothing else; "" without custom domains.
	DomainCAFile string            `json:"domainCaFile,omitempty"`
	APIs         []API             `json:"apis"`
	Functions    []Function        `json:"functions"`
	Tables       []Table           `json:"tables"`
	Outputs      map[string]string `json:"outputs"`
	Ready        bool              `json:"ready"`
	Findings     []Finding         `json:"findings"`
	PID          int               `json:"pid"`
	Version      string            `json:"version"`
	StartedAt    time.Time         `json:"startedAt"`
}

// API is a WebSocket API.
type API struct {
	ID     string  `json:"id"`
	Name   string  `json:"name"`
	Stages []Stage `json:"stages"`
	// Routes are the route keys, and RouteSelectionExpression says where a message
	// carries its key ("$request.body.action").
	Routes                   []string `json:"routes"`
	RouteSelectionExpression string   `json:"routeSelectionExpression"`
}

// Stage is where clients connect and back ends post.
type Stage struct {
	Name               string `json:"name"`
	WebSocketURL       string `json:"webSocketUrl"`       // ws://
	SecureWebSocketURL string `json:"secureWebSocketUrl"` // wss://, certificate from CAFile
	ManagementURL      string `json:"managementUrl"`      // endpoint of the API Gateway Management API: …/@connections/{id} follows
}

// Function is a function and what it really runs on.
type Function struct {
	Name      string `json:"name"`
	LogicalID string `json:"logicalId"`
	ARN       string `json:"arn"`
	Runtime   string `json:"runtime"` // as declared, e.g. "nodejs18.x"
	RunsOn    string `json:"runsOn"`  // what stands in for it here, e.g. "node 20.20.2"; "" before it was resolved
	Handler   string `json:"handler"`
}

// Table is a table.
type Table struct {
	Name      string   `json:"name"`
	LogicalID string   `json:"logicalId"`
	ARN       string   `json:"arn"`
	HashKey   string   `json:"hashKey"`
	RangeKey  string   `json:"rangeKey"` // "" for a hash-only key
	Indexes   []string `json:"indexes"`  // names of secondary indexes
}

// Severities of a Finding.
const (
	SeverityError   = "error"   // something that must run cannot
	SeverityWarning = "warning" // it runs, and not as on AWS
	SeverityNote    = "note"    // worth knowing once
)

// Finding is one thing worth saying about a template.
type Finding struct {
	Severity string    `json:"severity"` // "error", "warning", "note"
	Code     string    `json:"code"`     // stable kebab-case id
	Message  string    `json:"message"`
	Hint     string    `json:"hint"`     // what to do; may be ""
	Resource string    `json:"resource"` // logical id; may be ""
	Pos      model.Pos `json:"pos"`
}

// FindingsError is the error of a template that does not load. Those who start an
// application return it so that whoever shows errors can show each finding with
// its source line.
type FindingsError struct{ Findings []Finding }

// Error is the first error's text with the number of the others.
func (e *FindingsError) Error() string {
	n, first := 0, ""
	for _, f := range e.Findings {
		if f.Severity != SeverityError {
			continue
		}
		if n++; n == 1 {
			first = f.Message
			if at := f.Pos.String(); at != "" {
				first = at + ": " + first
			}
		}
	}
	switch n {
	case 0:
		return "the template was rejected"
	case 1:
		return first
	case 2:
		return first + " (and 1 more error)"
	}
	b, _ := json.Marshal(n - 1)
	return first + " (and " + string(b) + " more errors)"
}

// Health is the answer of GET /_livegate/api/health: status 200 when ready, 503
// while starting or stopping.
type Health struct {
	Ready   bool   `json:"ready"`
	PID     int    `json:"pid"`
	Version string `json:"version"`
	Stack   string `json:"stack"`
}

// Event is one event of the timeline as /_livegate/api/events carries it, in the
// data of a server-sent event named "log" whose id is Seq.
type Event struct {
	Seq       uint64    `json:"seq"` // 1, 2, 3 … per run of an instance
	At        time.Time `json:"at"`
	Level     string    `json:"level"`     // "info", "warn", "error"
	Source    string    `json:"source"`    // function name, "gateway", …
	RequestID string    `json:"requestId"` // "" when there is none
	Text      string    `json:"text"`      // may hold several lines
	Stream    string    `json:"stream"`    // "stdout", "stderr", "" for our own events
}

// Line is the event as a log line.
func (e Event) Line() model.LogLine {
	return model.LogLine{At: e.At, Level: e.Level, Source: e.Source, RequestID: e.RequestID, Text: e.Text, Stream: e.Stream}
}

// MarshalJSON writes empty lists as [] and {}: `jq '.apis[0]'` must not depend on
// whether an application happens to have no table.
func (s Status) MarshalJSON() ([]byte, error) {
	type plain Status
	s.APIs = append([]API{}, s.APIs...)
	for i := range s.APIs {
		s.APIs[i].Stages, s.APIs[i].Routes = some(s.APIs[i].Stages), some(s.APIs[i].Routes)
	}
	s.Functions, s.Findings = some(s.Functions), some(s.Findings)
	s.Tables = append([]Table{}, s.Tables...)
	for i := range s.Tables {
		s.Tables[i].Indexes = some(s.Tables[i].Indexes)
	}
	if s.Outputs == nil {
		s.Outputs = map[string]string{}
	}
	return json.Marshal(plain(s))
}

func some[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
