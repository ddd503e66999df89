package model

import "time"

// Invocation asks for one run of a function.
type Invocation struct {
	// Function is a name, a partial or full ARN, with an optional :qualifier.
	Function string
	// Payload is the event, JSON. Empty means "{}".
	Payload []byte
	// RequestID is the invocation's id; drawn (UUID) when empty.
	RequestID string
	// Tag marks a $connect in progress by its connection id. It is inherited by
	// functions that this invocation calls and waits for, and by nothing else:
	// that is how a post to a connection from inside its own $connect is told
	// from a post by somebody else.
	Tag string
	// Caller is the access key id of the worker that asks; "" for the gateway.
	Caller string
	// MustRun exempts the call from queue bounds: $disconnect is never dropped.
	MustRun bool
	// Queued, when set, is called at most once by the runtime, from the goroutine
	// that called Invoke, as soon as the invocation has its place in line: a call
	// made after that runs after this one where both need the same worker. That is
	// how a gateway keeps a connection's messages in order without waiting for
	// each to finish. It must not block.
	Queued func()
	// LogTail asks for the last 4 KB of the function's log.
	LogTail bool
	// ClientContext is the raw JSON of X-Amz-Client-Context, decoded from base64.
	ClientContext string
}

// InvokeResult is a finished invocation, successful or not.
type InvokeResult struct {
	// Payload is the function's answer, or the error object when FunctionError is set.
	Payload []byte
	// FunctionError is "", "Unhandled" or "Handled", as in X-Amz-Function-Error.
	FunctionError string
	// ErrorType is the error object's type, e.g. "Sandbox.Timedout"; "" without error.
	ErrorType string
	LogTail   []byte
	Duration  time.Duration
	RequestID string
}

// LogLine is one event of a running application as a user should see it.
type LogLine struct {
	At        time.Time
	Level     string // "info", "warn", "error"
	Source    string // function name, "gateway", "tables", …
	RequestID string // shown shortened; "" when there is none
	Text      string // may hold several lines (stack traces)
	Stream    string // "stdout", "stderr" or "" for our own events
}
