package integration

import (
	"context"
	"encoding/base64"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"github.com/livegate/livegate/internal/event"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/model"
	"github.com/livegate/livegate/internal/selection"
)

// eventRoom is what a MESSAGE event needs beside the body, with room for a user
// agent, an authorizer context and some escapes.
const eventRoom = 1024

// function runs an AWS_PROXY integration.
func (x *Executor) function(ctx context.Context, r *Request) (Response, error) {
	if x.functions == nil {
		return Response{}, fault.New(fault.Unsupported, "integration %s: no function runtime is configured", r.Plan.name)
	}
	name, err := r.Plan.target.expand(r.StageVariables, r.Conn.Stage)
	if err != nil {
		return Response{}, err
	}
	in := model.Invocation{Function: name, Queued: r.Queued}
	in.Payload = make([]byte, 0, eventRoom+len(r.Body)+len(r.Body)/4)
	switch r.Type {
	case event.TypeConnect:
		in.Tag = r.Conn.ID
		in.Payload = event.AppendConnect(in.Payload, r.Conn, &r.Call, r.Handshake)
	case event.TypeDisconnect:
		in.MustRun = true
		in.Payload = event.AppendDisconnect(in.Payload, r.Conn, &r.Call, r.Code, r.Reason)
	default:
		if r.Binary {
			in.Payload = event.AppendBinaryMessage(in.Payload, r.Conn, &r.Call, r.Body)
		} else {
			in.Payload = event.AppendMessage(in.Payload, r.Conn, &r.Call, r.Body)
		}
	}
	res, err := x.functions.Invoke(ctx, in)
	if err != nil {
		return Response{}, err
	}
	short := FunctionName(name)
	if res.FunctionError != "" {
		return Response{}, fault.New(fault.Upstream, "function %s failed: %s", short, functionError(&res))
	}
	resp, err := parseResult(res.Payload, r.Type == event.TypeConnect, r.TwoWay && r.Type == event.TypeMessage, x.bytes)
	if err != nil {
		return Response{}, fault.New(fault.Upstream, "function %s returned %v", short, err)
	}
	return resp, nil
}

// FunctionName is the name part of a function ARN, with its qualifier.
func FunctionName(arn string) string {
	if _, name, ok := strings.Cut(arn, ":function:"); ok {
		return name
	}
	return arn
}

// functionError is the error object in one line; stack traces are in the
// function's own log.
func functionError(res *model.InvokeResult) string {
	kind := res.ErrorType
	if kind == "" {
		kind = gjson.GetBytes(res.Payload, "errorType").String()
	}
	msg := gjson.GetBytes(res.Payload, "errorMessage").String()
	switch {
	case kind == "" && msg == "":
		return "it reported an error without a message"
	case kind == "":
		return msg
	case msg == "":
		return kind
	}
	return kind + ": " + msg
}

// malformed explains why a function's answer is not a proxy result.
type malformed string

func (m malformed) Error() string { return string(m) }

// parseResult reads a proxy result (§3.1 of the reference). connect demands a
// status; wantBody says whether a body will be used, bytes whether base64 may stand for
// a binary message.
//
// A null or undefined result is what a handler gives that answers later, or not
// at all: no effect on a message, but no 2xx for a handshake either.
func parseResult(payload []byte, connect, wantBody, bytes bool) (Response, error) {
	var resp Response
	text := strings.TrimSpace(string(payload))
	if text == "" || text == "null" {
		if connect {
			return resp, malformed(`nothing: $connect must return an object with a statusCode, such as {"statusCode": 200}`)
		}
		return resp, nil
	}
	if text[0] != '{' || !selection.ValidJSON(payload) {
		return resp, malformed("a malformed proxy result: not an object but " + shape(text))
	}
	var body, encoded gjson.Result
	var err error
	gjson.Parse(text).ForEach(func(key, value gjson.Result) bool {
		switch key.String() {
		case "statusCode":
			resp.Status, err = statusCode(value)
		case "headers", "multiValueHeaders":
			if connect {
				err = protocol(key.String(), value, &resp)
			}
		case "body":
			body = value
		case "isBase64Encoded":
			encoded = value
		}
		return err == nil
	})
	switch {
	case err != nil:
		return resp, err
	case connect && resp.Status == 0:
		return resp, malformed(`no statusCode: $connect must return an object such as {"statusCode": 200}`)
	case body.IsObject() || body.IsArray():
		return resp, malformed("a malformed proxy result: body must be a string, use JSON.stringify; it is " + shape(body.Raw))
	case !wantBody || body.Type == gjson.Null:
		return resp, nil
	}
	resp.Binary = bytes && encoded.Bool()
	resp.Body, err = bodyOf(body, encoded.Bool(), resp.Binary)
	return resp, err
}

// statusCode accepts numbers and, as the REST proxy does, numeric strings.
func statusCode(v gjson.Result) (int, error) {
	if v.Type == gjson.Null {
		return 0, nil
	}
	n, err := strconv.Atoi(v.String())
	if err != nil || (v.Type != gjson.Number && v.Type != gjson.String) || n < 200 || n > 599 {
		return 0, malformed("a malformed proxy result: statusCode " + shape(v.Raw) + " is not an HTTP status from 200 to 599")
	}
	return n, nil
}

func protocol(member string, headers gjson.Result, resp *Response) error {
	if headers.Type == gjson.Null {
		return nil
	}
	if !headers.IsObject() {
		return malformed("a malformed proxy result: " + member + " must be an object; it is " + shape(headers.Raw))
	}
	headers.ForEach(func(name, value gjson.Result) bool {
		if strings.EqualFold(name.String(), "Sec-WebSocket-Protocol") {
			if value.IsArray() {
				value = value.Get("0")
			}
			resp.Protocol = value.String()
		}
		return true
	})
	return nil
}

// bodyOf is a body as it leaves in a frame. isBase64Encoded is decoded and must give
// UTF-8 where there are no binary frames (Appendix B, B9).
func bodyOf(body gjson.Result, encoded, binary bool) ([]byte, error) {
	text := body.String()
	if body.Type != gjson.String {
		text = body.Raw // numbers and booleans as the function wrote them
	}
	if !encoded {
		return []byte(strings.ToValidUTF8(text, "\uFFFD")), nil
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	switch {
	case err != nil:
		return nil, malformed("isBase64Encoded with a body that is not base64")
	case !binary && !utf8.Valid(raw):
		return nil, malformed("isBase64Encoded with a body that is not UTF-8 text: WebSocket APIs send text only")
	}
	return raw, nil
}

// shape says what a text is and not what it says: what a client sent does not belong
// into a log (§9 of the reference), nor does what a template or a function made of it.
func shape(s string) string {
	kind := gjson.Parse(s).Type
	switch {
	case !selection.ValidJSON([]byte(s)):
		return strconv.Itoa(len(s)) + " bytes of text"
	case kind == gjson.String || kind == gjson.JSON || len(s) > len("false"):
		return kind.String() + " of " + strconv.Itoa(len(s)) + " bytes"
	}
	return s
}

func excerpt(s string) string {
	const most = 60
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
