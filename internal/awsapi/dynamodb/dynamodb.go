// Package dynamodb is the front door of the tables: the DynamoDB and DynamoDB
// Streams APIs in their AWS JSON 1.0 protocol, as every AWS SDK speaks it. Both
// are signed for the service "dynamodb", so one handler serves both.
//
// A request is a POST whose X-Amz-Target names the operation; the body is JSON.
// Items are read in one pass without reflection and written from the engine's
// own bytes. Every answer carries x-amzn-requestid and x-amz-crc32, which SDKs
// check. Who may call is decided in front of this handler.
//
// The package holds no state and knows nothing about how tables are kept.
package dynamodb

import (
	"bytes"
	"context"
	"errors"
	"hash/crc32"
	"io"
	"net/http"
	"strconv"
	"sync"

	"github.com/livegate/livegate/internal/attr"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/id"
	"github.com/livegate/livegate/internal/table"
)

const (
	// maxRequest is DynamoDB's bound on a request's body.
	maxRequest = 16 << 20

	tablesPrefix  = "DynamoDB_20120810."
	streamsPrefix = "DynamoDBStreams_20120810."
	contentType   = "application/x-amz-json-1.0"

	// Namespaces of error types.
	nsDynamo   = "com.amazonaws.dynamodb.v20120810#"
	nsService  = "com.amazon.coral.service#"
	nsValidate = "com.amazon.coral.validate#"

	// keepBuffer is the largest buffer worth keeping for the next request.
	keepBuffer = 256 << 10

	// A large request takes many times its size to read: few are read at once.
	largeRequest = 1 << 20
	largeAtOnce  = 2
)

// operation reads a request, calls the engine and appends the answer to out.
type operation func(ctx context.Context, e *table.Engine, body, out []byte) ([]byte, error)

type handler struct {
	engine     *table.Engine
	operations map[string]operation // by X-Amz-Target
	buffers    sync.Pool            // of *exchange
	large      chan struct{}        // holds one per large request that is being answered
}

// exchange is the buffers of one request.
type exchange struct {
	in  bytes.Buffer
	out []byte
}

// New serves the engine's tables. It answers any path.
func New(engine *table.Engine) http.Handler {
	h := &handler{engine: engine, operations: map[string]operation{}, large: make(chan struct{}, largeAtOnce)}
	for prefix, operations := range map[string]map[string]operation{tablesPrefix: tableOperations(), streamsPrefix: streamOperations()} {
		for name, op := range operations {
			h.operations[prefix+name] = op
		}
	}
	return h
}

func tableOperations() map[string]operation {
	return map[string]operation{
		"PutItem":            putItem,
		"GetItem":            getItem,
		"DeleteItem":         deleteItem,
		"UpdateItem":         updateItem,
		"Query":              query,
		"Scan":               scan,
		"BatchGetItem":       batchGetItem,
		"BatchWriteItem":     batchWriteItem,
		"TransactGetItems":   transactGetItems,
		"TransactWriteItems": transactWriteItems,

		"ExecuteStatement":      executeStatement,
		"BatchExecuteStatement": batchExecuteStatement,
		"ExecuteTransaction":    executeTransaction,

		"CreateTable":   control("TableDescription", createTable),
		"DescribeTable": control("Table", describeTable),
		"ListTables":    control("", listTables),
		"UpdateTable":   control("TableDescription", updateTable),
		"DeleteTable":   control("TableDescription", deleteTable),

		"DescribeTimeToLive":        control("TimeToLiveDescription", describeTimeToLive),
		"UpdateTimeToLive":          control("TimeToLiveSpecification", updateTimeToLive),
		"ListTagsOfResource":        control("Tags", listTagsOfResource),
		"TagResource":               tagResource,
		"UntagResource":             untagResource,
		"DescribeLimits":            describeLimits,
		"DescribeEndpoints":         describeEndpoints,
		"DescribeContinuousBackups": control("ContinuousBackupsDescription", describeContinuousBackups),
		"UpdateContinuousBackups":   control("ContinuousBackupsDescription", updateContinuousBackups),

		"DescribeContributorInsights":         control("", describeContributorInsights),
		"DescribeKinesisStreamingDestination": control("", describeKinesisStreamingDestination),
		"DescribeTableReplicaAutoScaling":     control("TableAutoScalingDescription", describeTableReplicaAutoScaling),
		"DescribeGlobalTable":                 describeGlobalTable,
		"DescribeGlobalTableSettings":         describeGlobalTable,
		"GetResourcePolicy":                   getResourcePolicy,
		"ListGlobalTables":                    listNothing("GlobalTables"),
		"ListBackups":                         listNothing("BackupSummaries"),
		"ListContributorInsights":             listNothing("ContributorInsightsSummaries"),
		"ListExports":                         listNothing("ExportSummaries"),
		"ListImports":                         listNothing("ImportSummaryList"),
	}
}

func streamOperations() map[string]operation {
	return map[string]operation{
		"ListStreams":      control("", listStreams),
		"DescribeStream":   control("StreamDescription", describeStream),
		"GetShardIterator": getShardIterator,
		"GetRecords":       getRecords,
	}
}

// ServeHTTP implements http.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x, _ := h.buffers.Get().(*exchange)
	if x == nil {
		x = &exchange{}
	}
	defer func() {
		if x.in.Cap() <= keepBuffer && cap(x.out) <= keepBuffer {
			h.buffers.Put(x)
		}
	}()
	x.in.Reset()
	out, err := h.answer(r, x)
	status := http.StatusOK
	if err != nil {
		out, status = appendError(x.out[:0], err)
	}
	x.out = out
	// Names in the form that Set would bring them to, values in one allocation.
	values := [...]string{contentType, requestID(), strconv.FormatUint(uint64(crc32.ChecksumIEEE(out)), 10), strconv.Itoa(len(out))}
	head := w.Header()
	for i, name := range [...]string{"Content-Type", "X-Amzn-Requestid", "X-Amz-Crc32", "Content-Length"} {
		head[name] = values[i : i+1 : i+1]
	}
	w.WriteHeader(status)
	_, _ = w.Write(out) // the client may have gone
}

// requestID is a UUID in the upper-case shape of DynamoDB's request ids.
func requestID() string {
	var room [36]byte
	b := id.AppendUUID(room[:0])
	for i, c := range b {
		if c >= 'a' {
			b[i] = c - 'a' + 'A'
		}
	}
	return string(b)
}

// answer runs the operation the request names.
func (h *handler) answer(r *http.Request, x *exchange) ([]byte, error) {
	if r.Method != http.MethodPost {
		return nil, fault.Typed(fault.BadRequest, "UnknownOperationException", "DynamoDB takes POST requests with an X-Amz-Target header, not %s", r.Method)
	}
	target := r.Header.Get("X-Amz-Target")
	op := h.operations[target]
	if op == nil {
		return nil, fault.Typed(fault.BadRequest, "UnknownOperationException", "DynamoDB operation %q is not one that Livegate serves", clip(target))
	}
	if _, err := x.in.ReadFrom(io.LimitReader(r.Body, maxRequest+1)); err != nil {
		return nil, fault.Typed(fault.BadRequest, "SerializationException", "the request body did not arrive whole")
	}
	if x.in.Len() > maxRequest {
		return nil, fault.Typed(fault.TooLarge, "RequestEntityTooLargeException", "Request body is larger than 16 MB")
	}
	if x.in.Len() > largeRequest {
		h.large <- struct{}{}
		defer func() { <-h.large }()
	}
	return op(r.Context(), h.engine, x.in.Bytes(), x.out[:0])
}

func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}

// namespaces of the exceptions that are not DynamoDB's own.
func namespace(awsType string) string {
	switch awsType {
	case "ValidationException":
		return nsValidate
	case "SerializationException", "UnknownOperationException", "RequestEntityTooLargeException", "ServiceUnavailable":
		return nsService
	}
	return nsDynamo
}

// appendError appends an error's body and returns its status.
func appendError(dst []byte, err error) ([]byte, int) {
	var e *fault.Error
	if !errors.As(err, &e) {
		e = fault.New(fault.Internal, "")
	}
	status, awsType, message := http.StatusBadRequest, e.Type, e.Msg
	switch {
	case e.Kind == fault.TooLarge && e.Type != "":
		status = http.StatusRequestEntityTooLarge
	case e.Type == "" && e.Kind == fault.Unavailable:
		// A full disk, a stop: nothing was done, and SDKs try again.
		status, awsType = http.StatusServiceUnavailable, "ServiceUnavailable"
	case e.Type == "":
		status, awsType = http.StatusInternalServerError, "InternalServerError"
		if message == "" {
			message = "Internal server error: " + err.Error()
		}
	}
	dst = append(dst, `{"__type":`...)
	dst = attr.AppendString(dst, namespace(awsType)+awsType)
	var f *table.Failure
	if errors.As(err, &f) {
		if f.Item != nil {
			dst = append(append(dst, `,"Item":`...), f.Item...)
		}
		dst = appendReasons(dst, f.Reasons)
	}
	if message != "" {
		name := `,"message":`
		if f != nil && f.Reasons != nil || namespace(awsType) == nsService {
			name = `,"Message":` // as AWS spells it in these
		}
		dst = attr.AppendString(append(dst, name...), message)
	}
	return append(dst, '}'), status
}

func appendReasons(dst []byte, reasons []table.Reason) []byte {
	if reasons == nil {
		return dst
	}
	dst = append(dst, `,"CancellationReasons":[`...)
	for i, r := range reasons {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = attr.AppendString(append(dst, `{"Code":`...), r.Code)
		if r.Message != "" {
			dst = attr.AppendString(append(dst, `,"Message":`...), r.Message)
		}
		if r.Item != nil {
			dst = append(append(dst, `,"Item":`...), r.Item...)
		}
		dst = append(dst, '}')
	}
	return append(dst, ']')
}

var _ http.Handler = (*handler)(nil)
