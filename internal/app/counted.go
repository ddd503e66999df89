package app

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/integration"
	"github.com/livegate/livegate/internal/meter"
	"github.com/livegate/livegate/internal/model"
)

// calls are one type of integration.
type calls struct {
	took   *meter.Histogram
	failed map[string]*meter.Counter // by kind
}

// What an integration's failure is counted as; otherKind is everything else.
const otherKind = "other"

func failureKinds() map[fault.Kind]string {
	return map[fault.Kind]string{
		fault.Timeout: "timeout", fault.Throttled: "throttled", fault.Unavailable: "unavailable",
		fault.Upstream: "upstream", fault.Forbidden: "forbidden",
	}
}

func newCalls(reg *meter.Registry, kind string) calls {
	label := meter.Label{Name: "type", Value: kind}
	c := calls{
		took:   reg.Histogram("livegate_integration_duration_seconds", "Time from calling a back end to its answer.", latencies(), label),
		failed: map[string]*meter.Counter{},
	}
	for _, k := range append(slices.Collect(maps.Values(failureKinds())), otherKind) {
		c.failed[k] = reg.Counter("livegate_integration_errors_total", "Calls of back ends that failed.", label, meter.Label{Name: "kind", Value: k})
	}
	return c
}

// ended takes note of one call.
func (c *calls) ended(began time.Time, err error) {
	c.took.Observe(time.Since(began).Seconds())
	if err == nil {
		return
	}
	kind, known := failureKinds()[fault.KindOf(err)]
	if !known {
		kind = otherKind
	}
	c.failed[kind].Inc()
}

// timedFunctions counts what routes call.
type timedFunctions struct {
	next  integration.Functions
	calls *calls
}

func (t timedFunctions) Invoke(ctx context.Context, in model.Invocation) (model.InvokeResult, error) {
	began := time.Now()
	res, err := t.next.Invoke(ctx, in)
	counted := err
	if err == nil && res.FunctionError != "" {
		counted = fault.New(fault.Upstream, "%s", res.ErrorType)
	}
	t.calls.ended(began, counted)
	return res, err
}

// timedBackends is the same for HTTP integrations, up to the answer's head.
type timedBackends struct {
	next  http.RoundTripper
	calls *calls
}

func (t timedBackends) RoundTrip(r *http.Request) (*http.Response, error) {
	began := time.Now()
	resp, err := t.next.RoundTrip(r)
	counted := err
	switch _, classified := errors.AsType[*fault.Error](err); {
	case err == nil || classified:
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		counted = fault.New(fault.Timeout, "")
	default:
		counted = fault.New(fault.Upstream, "")
	}
	t.calls.ended(began, counted)
	return resp, err
}

// operations count what is asked of tables. Clients name operations, so names
// that are not DynamoDB's share one label value, with those of its operations
// that only describe something.
type operations struct {
	took   *meter.Histogram
	counts map[string]map[string]*meter.Counter // operation → result
}

const otherOperation = "other"

func tableOperations() []string {
	return []string{
		"PutItem", "GetItem", "DeleteItem", "UpdateItem", "Query", "Scan",
		"BatchGetItem", "BatchWriteItem", "TransactGetItems", "TransactWriteItems",
		"CreateTable", "DescribeTable", "ListTables", "UpdateTable", "DeleteTable",
		"ExecuteStatement", "BatchExecuteStatement", "ExecuteTransaction",
		"GetShardIterator", "GetRecords",
	}
}

func newOperations(reg *meter.Registry) *operations {
	o := &operations{
		took:   reg.Histogram("livegate_table_operation_duration_seconds", "Time of a table operation.", latencies()),
		counts: map[string]map[string]*meter.Counter{},
	}
	for _, name := range append(tableOperations(), otherOperation) {
		o.counts[name] = map[string]*meter.Counter{}
		for _, result := range []string{"success", "refused", "failed"} {
			o.counts[name][result] = reg.Counter("livegate_table_operations_total", "Table operations by how they ended.",
				meter.Label{Name: "operation", Value: name}, meter.Label{Name: "result", Value: result})
		}
	}
	return o
}

// around counts the operations that next serves.
func (o *operations) around(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, name, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
		counts := o.counts[name]
		if counts == nil {
			counts = o.counts[otherOperation]
		}
		began := time.Now()
		s := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(s, r)
		o.took.Observe(time.Since(began).Seconds())
		switch {
		case s.status >= http.StatusInternalServerError:
			counts["failed"].Inc()
		case s.status >= http.StatusBadRequest:
			counts["refused"].Inc()
		default:
			counts["success"].Inc()
		}
	})
}

// statusWriter remembers the status.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (s *statusWriter) WriteHeader(status int) {
	s.status = status
	s.ResponseWriter.WriteHeader(status)
}

var (
	_ integration.Functions = timedFunctions{}
	_ http.RoundTripper     = timedBackends{}
)
