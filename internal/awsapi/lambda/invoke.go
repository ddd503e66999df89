package lambda

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/model"
	"github.com/livegate/livegate/internal/sigv4"
)

// Payload limits in bytes (Lambda quotas; asynchronous since October 2025).
const (
	maxSync   = 6 << 20 // RequestResponse, each way
	maxEvent  = 1 << 20 // Event
	maxClient = 3583    // X-Amz-Client-Context after decoding
)

func asFault(err error) (*fault.Error, bool) { return errors.AsType[*fault.Error](err) }

// invoke is POST /2015-03-31/functions/{name}/invocations.
func (h *Handler) invoke(w http.ResponseWriter, r *http.Request, name string) {
	fn, qualifier, err := h.find(name, r.URL.Query().Get("Qualifier"))
	if err != nil {
		fail(w, err)
		return
	}
	kind := r.Header.Get("X-Amz-Invocation-Type")
	limit := maxSync
	switch kind {
	case "", "RequestResponse":
		kind = "RequestResponse"
	case "DryRun":
	case "Event":
		limit = maxEvent
	default:
		fail(w, fault.Typed(fault.BadRequest, "InvalidParameterValueException",
			"Unknown invocation type %q: it must be RequestResponse, Event or DryRun.", kind))
		return
	}
	inv := model.Invocation{
		Function: withQualifier(fn.Name, qualifier),
		LogTail:  r.Header.Get("X-Amz-Log-Type") == "Tail",
		Caller:   caller(r),
	}
	if inv.Payload, err = payload(r, kind, limit); err == nil {
		inv.ClientContext, err = clientContext(r.Header.Get("X-Amz-Client-Context"))
	}
	if err != nil {
		fail(w, err)
		return
	}
	inv.RequestID = w.Header().Get("X-Amzn-Requestid")
	switch kind {
	case "DryRun":
		w.WriteHeader(http.StatusNoContent)
	case "Event":
		if err := h.cfg.Functions.InvokeAsync(r.Context(), inv); err != nil {
			fail(w, err)
			return
		}
		w.WriteHeader(http.StatusAccepted)
	default:
		h.run(w, r, inv, version(fn, qualifier))
	}
}

// run invokes and waits. A caller that hangs up does not stop the function, as
// on AWS, where an SDK's time-out and retry run it twice.
func (h *Handler) run(w http.ResponseWriter, r *http.Request, inv model.Invocation, version string) {
	res, err := h.cfg.Functions.Invoke(context.WithoutCancel(r.Context()), inv)
	if err != nil {
		fail(w, err)
		return
	}
	head := w.Header()
	head.Set("Content-Type", "application/json")
	head.Set("X-Amz-Executed-Version", version)
	if res.FunctionError != "" {
		head.Set("X-Amz-Function-Error", res.FunctionError)
	}
	if inv.LogTail {
		head.Set("X-Amz-Log-Result", base64.StdEncoding.EncodeToString(res.LogTail))
	}
	w.Write(res.Payload) // a failure here is the caller's hang-up
}

// invokeAsync is the legacy POST /2014-11-13/functions/{name}/invoke-async/.
func (h *Handler) invokeAsync(w http.ResponseWriter, r *http.Request, name string) {
	fn, qualifier, err := h.find(name, "")
	if err != nil {
		fail(w, err)
		return
	}
	body, err := payload(r, "Event", maxEvent)
	if err == nil {
		err = h.cfg.Functions.InvokeAsync(r.Context(), model.Invocation{
			Function: withQualifier(fn.Name, qualifier), Payload: body, Caller: caller(r),
			RequestID: w.Header().Get("X-Amzn-Requestid"),
		})
	}
	if err != nil {
		fail(w, err)
		return
	}
	answer(w, http.StatusAccepted, struct{ Status int }{http.StatusAccepted})
}

// payload reads the event. Nothing at all means {} (measured: `aws lambda invoke`
// without a payload).
func payload(r *http.Request, kind string, limit int) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxSync+1))
	if err != nil {
		return nil, fault.Typed(fault.BadRequest, "InvalidRequestContentException", "The request body could not be read.")
	}
	if len(body) > limit {
		if kind == "Event" {
			size := max(int64(len(body)), r.ContentLength)
			return nil, fault.Typed(fault.TooLarge, "RequestTooLargeException",
				"%d byte payload is too large for the Event invocation type (limit %d bytes)", size, limit)
		}
		return nil, fault.Typed(fault.TooLarge, "RequestTooLargeException",
			"Request must be smaller than %d bytes for the InvokeFunction operation", limit)
	}
	if len(body) == 0 {
		return []byte("{}"), nil
	}
	if !json.Valid(body) {
		return nil, fault.Typed(fault.BadRequest, "InvalidRequestContentException", "Could not parse request body into json: %s", jsonProblem(body))
	}
	return body, nil
}

// jsonProblem says where a payload stops being JSON.
func jsonProblem(body []byte) string {
	var v json.RawMessage
	if err := json.Unmarshal(body, &v); err != nil {
		return err.Error()
	}
	return "not valid JSON"
}

func clientContext(header string) (string, error) {
	if header == "" {
		return "", nil
	}
	plain, err := base64.StdEncoding.DecodeString(header)
	if err != nil || len(plain) > maxClient || !json.Valid(plain) {
		return "", fault.Typed(fault.BadRequest, "InvalidRequestContentException",
			"X-Amz-Client-Context must be base64 of a JSON document of at most %d bytes.", maxClient)
	}
	return string(plain), nil
}

// caller is the access key id that signed the call; "" without a signature.
func caller(r *http.Request) string {
	sig, err := sigv4.Parse(r.Header, r.URL.RawQuery)
	if err != nil {
		return ""
	}
	return sig.AccessKeyID
}
