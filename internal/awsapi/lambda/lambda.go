// Package lambda is the part of the AWS Lambda API that functions and scripts
// call at run time: Invoke (synchronous, asynchronous, dry run), the legacy
// InvokeAsync, GetFunction, GetFunctionConfiguration and ListFunctions.
//
// It is an http.Handler for the REST paths below /2015-03-31 and /2014-11-13. It
// expects the signature to have been checked already and the body to be bounded;
// who calls is read from the signature. Everything that runs is behind
// [Functions]; the package keeps no state.
//
// Error bodies and headers are Lambda's: {"Type":"User","Message":…} with
// x-amzn-errortype. An operation that is not there answers 501 and is named.
//
// Source: AWS Lambda API Reference (2015-03-31).
package lambda

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/id"
	"github.com/livegate/livegate/internal/model"
)

// Functions runs functions. The errors are those of fault: NotFound, Throttled,
// TooLarge; what a function does wrong is in the result.
type Functions interface {
	Invoke(ctx context.Context, inv model.Invocation) (model.InvokeResult, error)
	// InvokeAsync returns once the event is accepted.
	InvokeAsync(ctx context.Context, inv model.Invocation) error
}

// Config is what a Handler needs.
type Config struct {
	Functions Functions
	// App is the application that runs now; nil when there is none.
	App func() *model.App
}

// Handler serves the Lambda API. Make one with New.
type Handler struct{ cfg Config }

// New makes a Handler.
func New(cfg Config) *Handler { return &Handler{cfg: cfg} }

// ServeHTTP answers one call.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Amzn-Requestid", id.NewUUID())
	segments, err := segments(r.URL)
	if err != nil {
		fail(w, err)
		return
	}
	switch op, name := route(r.Method, segments); op {
	case "Invoke":
		h.invoke(w, r, name)
	case "InvokeAsync":
		h.invokeAsync(w, r, name)
	case "GetFunction":
		h.getFunction(w, r, name)
	case "GetFunctionConfiguration":
		h.getConfiguration(w, r, name)
	case "ListFunctions":
		h.listFunctions(w, r)
	default:
		fail(w, fault.New(fault.Unsupported, "Livegate's local Lambda API has no operation %s %s. "+
			"It has Invoke, InvokeAsync, GetFunction, GetFunctionConfiguration and ListFunctions; "+
			"to use the real service, start with --aws-passthrough lambda.", r.Method, r.URL.Path))
	}
}

// segments splits the path as sent and decodes each segment: an ARN may arrive
// with its colons encoded or not.
func segments(u *url.URL) ([]string, error) {
	parts := strings.Split(strings.Trim(u.EscapedPath(), "/"), "/")
	for i, p := range parts {
		plain, err := url.PathUnescape(p)
		if err != nil {
			return nil, fault.Typed(fault.BadRequest, "InvalidParameterValueException", "The path %q cannot be decoded.", u.EscapedPath())
		}
		parts[i] = plain
	}
	return parts, nil
}

// route finds the operation: versions of the API are part of the path.
func route(method string, s []string) (op, name string) {
	if len(s) < 2 || s[1] != "functions" {
		return "", ""
	}
	if len(s) > 2 {
		name = s[2]
	}
	switch {
	case s[0] == "2014-11-13" && method == http.MethodPost && len(s) == 4 && s[3] == "invoke-async":
		return "InvokeAsync", name
	case s[0] != "2015-03-31":
		return "", ""
	case method == http.MethodPost && len(s) == 4 && s[3] == "invocations":
		return "Invoke", name
	case method == http.MethodGet && len(s) == 4 && s[3] == "configuration":
		return "GetFunctionConfiguration", name
	case method == http.MethodGet && len(s) == 3:
		return "GetFunction", name
	case method == http.MethodGet && len(s) == 2:
		return "ListFunctions", ""
	}
	return "", ""
}

// awsError is the body of Lambda's errors. Message is capitalised, except where
// AWS does not.
type awsError struct {
	Reason  string `json:"Reason,omitempty"`
	Type    string `json:"Type"`
	Message string `json:"Message,omitempty"`
	Lower   string `json:"message,omitempty"`
}

// fail answers an error.
func fail(w http.ResponseWriter, err error) {
	kind := fault.KindOf(err)
	name, body := kind.AWSType(), awsError{Type: "User", Message: fault.Message(err)}
	if e, ok := asFault(err); ok {
		name = e.AWSType()
	}
	switch kind {
	case fault.NotFound:
		name = "ResourceNotFoundException"
	case fault.TooLarge:
		name = "RequestTooLargeException"
	case fault.Throttled:
		name = "TooManyRequestsException"
		body = awsError{Type: "User", Reason: "ReservedFunctionConcurrentInvocationLimitExceeded", Lower: "Rate Exceeded."}
	case fault.Internal, fault.Unavailable, fault.Timeout, fault.Upstream:
		name, body.Type = "ServiceException", "Service"
	}
	w.Header().Set("X-Amzn-Errortype", name)
	answer(w, kind.Status(), body)
}

// answer writes JSON.
func answer(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil { // unreachable: our own plain structs
		status, body = http.StatusInternalServerError, []byte(`{"Type":"Service"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(body)
}

// notFound is AWS's text, for a function or one of its qualifiers.
func notFound(arn string) error {
	return fault.Typed(fault.NotFound, "ResourceNotFoundException", "Function not found: %s", arn)
}

// reference is a function as named by a caller.
type reference struct{ name, qualifier string }

// find resolves a name, partial ARN ("123456789012:function:name") or full ARN,
// each with an optional qualifier, which the Qualifier parameter must not
// contradict.
func (h *Handler) find(given, qualifier string) (*model.Function, string, error) {
	ref, app := parseReference(given), h.cfg.App()
	if ref.name == "" {
		return nil, "", fault.Typed(fault.BadRequest, "InvalidParameterValueException", "%q is not a function name or ARN.", given)
	}
	if qualifier != "" {
		if ref.qualifier != "" && ref.qualifier != qualifier {
			return nil, "", fault.Typed(fault.BadRequest, "InvalidParameterValueException",
				"The derived qualifier from the function name does not match the specified qualifier.")
		}
		ref.qualifier = qualifier
	}
	var fn *model.Function
	if app != nil {
		for _, f := range app.Functions {
			if f.Name == ref.name {
				fn = f
			}
		}
	}
	if fn == nil {
		return nil, "", notFound(withQualifier(h.arn(given, ref.name), ref.qualifier))
	}
	if !known(fn, ref.qualifier) {
		return nil, "", notFound(withQualifier(fn.ARN, ref.qualifier))
	}
	return fn, ref.qualifier, nil
}

func parseReference(s string) (ref reference) {
	if _, rest, ok := strings.Cut(s, "function:"); ok {
		s = rest
	}
	ref.name, ref.qualifier, _ = strings.Cut(s, ":")
	return ref
}

// arn is the full ARN of a function that does not exist.
func (h *Handler) arn(given, name string) string {
	app := h.cfg.App()
	if strings.HasPrefix(given, "arn:") || app == nil {
		return given
	}
	return fmt.Sprintf("arn:%s:lambda:%s:%s:function:%s", app.Partition, app.Region, app.AccountID, name)
}

func withQualifier(arn, qualifier string) string {
	if qualifier == "" || strings.HasSuffix(arn, ":"+qualifier) {
		return arn
	}
	return arn + ":" + qualifier
}

// known reports whether a function has a qualifier: $LATEST, an alias, a version
// behind an alias, or version 1, which every published function has.
func known(fn *model.Function, qualifier string) bool {
	switch qualifier {
	case "", latest, "1":
		return true
	}
	for alias, version := range fn.Aliases {
		if qualifier == alias || qualifier == version {
			return true
		}
	}
	return false
}

const latest = "$LATEST"

// version is the version that a qualifier stands for.
func version(fn *model.Function, qualifier string) string {
	if qualifier == "" {
		return latest
	}
	if v, ok := fn.Aliases[qualifier]; ok && v != "" {
		return v
	}
	return qualifier
}
