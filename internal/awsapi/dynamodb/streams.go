package dynamodb

import (
	"context"

	"github.com/livegate/livegate/internal/table"
)

type listStreamsInput struct {
	TableName               *string
	ExclusiveStartStreamArn *string
	Limit                   *int64
}

func listStreams(_ context.Context, e *table.Engine, in *listStreamsInput) (any, error) {
	list, last, err := e.ListStreams(in.TableName, in.ExclusiveStartStreamArn, in.Limit)
	if err != nil {
		return nil, err
	}
	return struct {
		Streams                []table.StreamSummary
		LastEvaluatedStreamArn string `json:",omitempty"`
	}{append([]table.StreamSummary{}, list...), last}, nil
}

func describeStream(_ context.Context, e *table.Engine, in *table.DescribeStreamInput) (any, error) {
	return e.DescribeStream(in)
}

func getShardIterator(_ context.Context, e *table.Engine, body, out []byte) ([]byte, error) {
	in := &table.ShardIteratorInput{}
	if err := decodeJSON(body, in); err != nil {
		return nil, err
	}
	it, err := e.GetShardIterator(in)
	if err != nil {
		return nil, err
	}
	o := newObject(out)
	o.text("ShardIterator", it)
	return o.end(), nil
}

func getRecords(_ context.Context, e *table.Engine, body, out []byte) ([]byte, error) {
	in := struct {
		ShardIterator *string
		Limit         *int64
	}{}
	if err := decodeJSON(body, &in); err != nil {
		return nil, err
	}
	page, err := e.GetRecords(in.ShardIterator, in.Limit)
	if err != nil {
		return nil, err
	}
	o := newObject(out)
	if page.Next != "" {
		o.text("NextShardIterator", page.Next)
	}
	o.key("Records")
	o.buf = append(o.buf, '[')
	for i, r := range page.Records {
		if i > 0 {
			o.buf = append(o.buf, ',')
		}
		o.buf = appendStreamRecord(o.buf, r, e.Region())
	}
	o.buf = append(o.buf, ']')
	return o.end(), nil
}

// appendStreamRecord appends a Record (API reference, data types of DynamoDB
// Streams). Its identity's members begin with capitals; those of the event that
// Lambda sends do not.
func appendStreamRecord(dst []byte, r *table.StreamRecord, region string) []byte {
	o := newObject(dst)
	o.text("eventID", r.ID)
	o.text("eventName", r.Event)
	o.text("eventVersion", "1.1")
	o.text("eventSource", "aws:dynamodb")
	o.text("awsRegion", region)
	o.key("dynamodb")
	d := newObject(o.buf)
	d.number("ApproximateCreationDateTime", float64(r.At.Unix()))
	d.raw("Keys", r.Keys)
	if r.New != nil {
		d.raw("NewImage", r.New)
	}
	if r.Old != nil {
		d.raw("OldImage", r.Old)
	}
	d.text("SequenceNumber", r.Sequence)
	d.number("SizeBytes", float64(r.Size))
	d.text("StreamViewType", r.View)
	o.buf = d.end()
	if r.Expired {
		o.raw("userIdentity", []byte(`{"PrincipalId":"dynamodb.amazonaws.com","Type":"Service"}`))
	}
	return o.end()
}
