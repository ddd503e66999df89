// Package fault is Livegate's small error vocabulary: what went wrong in one
// word, and what that word means on every surface it can reach: an HTTP status,
// an AWS error type, a WebSocket close code, and whether trying again can help.
//
// Everything else is context: wrap with [Wrap] in the shape of the call that
// failed, and read the kind back with [KindOf] at the edge that must answer.
// The package knows no domain word; "connection" or "table" never appear here.
package fault

import (
	"errors"
	"fmt"
)

// Kind says what went wrong. The zero value is Internal, so an error that nobody
// classified is treated as our own fault, never as the caller's.
type Kind uint8

const (
	Internal     Kind = iota // our fault
	BadRequest               // the caller sent something malformed
	Unauthorized             // no usable identity was presented
	Forbidden                // the identity may not do this, or the target must not be revealed
	NotFound                 // no such thing
	Gone                     // it was here, and is gone for good: never retry
	Conflict                 // it exists already, or changed under the caller
	TooLarge                 // beyond a size limit
	Unsupported              // understood, and not built yet: always says so by name
	Throttled                // over a rate, a quota or a full queue: retry later
	Timeout                  // it took longer than the caller allowed
	Unavailable              // not answerable right now; says nothing about the target
	Upstream                 // the user's code or back end failed, not Livegate
)

// facts is one row per Kind: the only table that maps errors to surfaces.
var facts = [...]struct {
	name   string
	status int    // HTTP status
	aws    string // x-amzn-errortype
	code   int    // RFC 6455 §7.4 close code
	retry  bool
}{
	Internal:     {"internal", 500, "InternalServerErrorException", 1011, true},
	BadRequest:   {"bad request", 400, "BadRequestException", 1008, false},
	Unauthorized: {"unauthorized", 401, "UnauthorizedException", 1008, false},
	Forbidden:    {"forbidden", 403, "ForbiddenException", 1008, false},
	NotFound:     {"not found", 404, "NotFoundException", 1008, false},
	Gone:         {"gone", 410, "GoneException", 1000, false},
	Conflict:     {"conflict", 409, "ConflictException", 1008, false},
	TooLarge:     {"too large", 413, "PayloadTooLargeException", 1009, false},
	Unsupported:  {"not supported", 501, "NotImplementedException", 1011, false},
	Throttled:    {"throttled", 429, "LimitExceededException", 1013, true},
	Timeout:      {"timed out", 504, "RequestTimeoutException", 1011, true},
	Unavailable:  {"unavailable", 503, "ServiceUnavailableException", 1013, true},
	Upstream:     {"upstream failed", 502, "BadGatewayException", 1011, false},
}

func (k Kind) String() string  { return facts[k].name }
func (k Kind) Status() int     { return facts[k].status }
func (k Kind) AWSType() string { return facts[k].aws }
func (k Kind) CloseCode() int  { return facts[k].code }
func (k Kind) Retryable() bool { return facts[k].retry }

// Error is a classified error. Type, when set, replaces the AWS error type of
// the kind, for services whose exceptions have names of their own.
type Error struct {
	Kind Kind
	Type string // AWS error type; "" means Kind.AWSType()
	Msg  string // shown to the caller
	Err  error  // cause, may be nil
}

func (e *Error) Error() string {
	msg := e.Msg
	if msg == "" {
		msg = e.Kind.String()
	}
	if e.Err != nil {
		return msg + ": " + e.Err.Error()
	}
	return msg
}

func (e *Error) Unwrap() error { return e.Err }

// AWSType is the name an AWS SDK will see.
func (e *Error) AWSType() string {
	if e.Type != "" {
		return e.Type
	}
	return e.Kind.AWSType()
}

// New returns an error of a kind with a message for the caller.
func New(k Kind, format string, args ...any) *Error {
	return &Error{Kind: k, Msg: fmt.Sprintf(format, args...)}
}

// Typed is New with the AWS error type spelled out, e.g. "ResourceNotFoundException".
func Typed(k Kind, awsType, format string, args ...any) *Error {
	return &Error{Kind: k, Type: awsType, Msg: fmt.Sprintf(format, args...)}
}

// Wrap prefixes *err with a call-shaped context, keeping its kind:
//
//	defer fault.Wrap(&err, "table.Put(%q)", name)
//
// A nil *err stays nil.
func Wrap(err *error, format string, args ...any) {
	if *err != nil {
		*err = fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), *err)
	}
}

// KindOf returns the kind of the first *Error in err's chain; Internal if there
// is none. KindOf(nil) is Internal too: ask only about errors.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Internal
}

// Is reports whether err is non-nil and of kind k.
func Is(err error, k Kind) bool { return err != nil && KindOf(err) == k }

// Message is the text meant for the caller: the classified error's own message
// without the call-shaped prefixes, or the kind's name for unclassified errors
// (whose text may hold internals).
func Message(err error) string {
	if e, ok := errors.AsType[*Error](err); ok && e.Msg != "" {
		return e.Msg
	}
	return KindOf(err).String()
}
