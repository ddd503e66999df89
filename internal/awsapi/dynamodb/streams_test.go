package dynamodb_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

const streamsTarget = "DynamoDBStreams_20120810."

// ask posts a request and decodes its answer.
func ask[T any](t *testing.T, url, target, body string) T {
	t.Helper()
	status, answer, _ := call(t, url, target, body)
	var v T
	if err := json.Unmarshal([]byte(answer), &v); status != 200 || err != nil {
		t.Fatalf("%s %s: %d %s %v", target, body, status, answer, err)
	}
	return v
}

// The four operations as they go over the wire, from switching the stream on to
// the null iterator at the end of its closed shard.
func TestStreamsProtocol(t *testing.T) {
	srv, _ := newServer(t)
	type described struct {
		TableDescription struct{ LatestStreamArn string }
	}
	created := ask[described](t, srv.URL, v2012+"CreateTable", strings.Replace(createOne, "{", `{"StreamSpecification":{"StreamEnabled":true,"StreamViewType":"NEW_AND_OLD_IMAGES"},`, 1))
	arn := created.TableDescription.LatestStreamArn
	if !strings.HasPrefix(arn, "arn:aws:dynamodb:us-east-1:123456789012:table/one/stream/20") {
		t.Fatal(arn)
	}
	for _, x := range []string{"1", "2"} {
		ask[any](t, srv.URL, v2012+"PutItem", `{"TableName":"one","Item":{"pk":{"S":"a"},"x":{"N":"`+x+`"}}}`)
	}
	list := ask[struct{ Streams []map[string]string }](t, srv.URL, streamsTarget+"ListStreams", `{"TableName":"one"}`)
	if len(list.Streams) != 1 || list.Streams[0]["StreamArn"] != arn || list.Streams[0]["TableName"] != "one" || !strings.HasSuffix(arn, list.Streams[0]["StreamLabel"]) {
		t.Fatal(list)
	}
	ask[any](t, srv.URL, v2012+"UpdateTable", `{"TableName":"one","StreamSpecification":{"StreamEnabled":false}}`)
	type stream struct {
		StreamDescription struct {
			StreamStatus, StreamViewType string
			KeySchema                    []any
			Shards                       []struct {
				ShardId             string
				SequenceNumberRange map[string]string
			}
		}
	}
	d := ask[stream](t, srv.URL, streamsTarget+"DescribeStream", fmt.Sprintf(`{"StreamArn":%q}`, arn)).StreamDescription
	if d.StreamStatus != "DISABLED" || d.StreamViewType != "NEW_AND_OLD_IMAGES" || len(d.KeySchema) != 1 || len(d.Shards) != 1 || len(d.Shards[0].SequenceNumberRange) != 2 {
		t.Fatal(d)
	}
	it := ask[struct{ ShardIterator string }](t, srv.URL, streamsTarget+"GetShardIterator", fmt.Sprintf(`{"StreamArn":%q,"ShardId":%q,"ShardIteratorType":"TRIM_HORIZON"}`, arn, d.Shards[0].ShardId))
	type records struct {
		NextShardIterator *string
		Records           []struct {
			EventName, EventVersion, EventSource, AwsRegion string
			EventID                                         string
			Dynamodb                                        struct {
				ApproximateCreationDateTime float64
				Keys, NewImage, OldImage    json.RawMessage
				SequenceNumber              string
				SizeBytes                   int
				StreamViewType              string
			}
		}
	}
	page := ask[records](t, srv.URL, streamsTarget+"GetRecords", fmt.Sprintf(`{"ShardIterator":%q}`, it.ShardIterator))
	if len(page.Records) != 2 || page.NextShardIterator != nil {
		t.Fatalf("%+v", page)
	}
	r := page.Records[1]
	if r.EventName != "MODIFY" || r.EventVersion != "1.1" || r.EventSource != "aws:dynamodb" || r.AwsRegion != "us-east-1" || len(r.EventID) != 32 ||
		string(r.Dynamodb.Keys) != `{"pk":{"S":"a"}}` || string(r.Dynamodb.OldImage) != `{"pk":{"S":"a"},"x":{"N":"1"}}` || string(r.Dynamodb.NewImage) != `{"pk":{"S":"a"},"x":{"N":"2"}}` ||
		len(r.Dynamodb.SequenceNumber) != 21 || r.Dynamodb.SizeBytes != 3+6+6 || r.Dynamodb.ApproximateCreationDateTime < 1.7e9 {
		t.Errorf("%+v", r)
	}
	for target, want := range map[string]string{
		streamsTarget + "PutItem": "UnknownOperationException",
		v2012 + "GetRecords":      "UnknownOperationException",
	} {
		if status, body, _ := call(t, srv.URL, target, "{}"); status != 400 || !strings.Contains(body, want) {
			t.Error(target, status, body)
		}
	}
	if status, body, _ := call(t, srv.URL, streamsTarget+"DescribeStream", `{"StreamArn":"arn:aws:dynamodb:us-east-1:123456789012:table/two/stream/x"}`); status != 400 || !strings.Contains(body, "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException") {
		t.Error(status, body)
	}
}

// A table on which none of these was ever turned on: what CDK, Terraform and the
// console ask for has AWS's answer.
func TestSettingsThatAreOff(t *testing.T) {
	srv, _ := newServer(t)
	ask[any](t, srv.URL, v2012+"CreateTable", createOne)
	const named = `{"TableName":"one"}`
	for op, c := range map[string]struct {
		body   string
		status int
		want   string
	}{
		"DescribeContributorInsights":         {named, 200, `"ContributorInsightsStatus":"DISABLED"`},
		"DescribeKinesisStreamingDestination": {named, 200, `"KinesisDataStreamDestinations":[]`},
		"DescribeTableReplicaAutoScaling":     {named, 200, `"Replicas":[]`},
		"DescribeGlobalTable":                 {`{"GlobalTableName":"one"}`, 400, "GlobalTableNotFoundException"},
		"DescribeGlobalTableSettings":         {`{"GlobalTableName":"one"}`, 400, "GlobalTableNotFoundException"},
		"GetResourcePolicy":                   {`{"ResourceArn":"arn:aws:dynamodb:us-east-1:123456789012:table/one"}`, 400, "PolicyNotFoundException"},
		"ListGlobalTables":                    {`{}`, 200, `{"GlobalTables":[]}`},
		"ListBackups":                         {`{}`, 200, `{"BackupSummaries":[]}`},
		"ListContributorInsights":             {`{}`, 200, `{"ContributorInsightsSummaries":[]}`},
		"ListExports":                         {`{}`, 200, `{"ExportSummaries":[]}`},
		"ListImports":                         {`{}`, 200, `{"ImportSummaryList":[]}`},
	} {
		if status, body, _ := call(t, srv.URL, v2012+op, c.body); status != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s: %d %s", op, status, body)
		}
	}
	for _, op := range []string{"DescribeContributorInsights", "DescribeKinesisStreamingDestination", "DescribeTableReplicaAutoScaling"} {
		if status, body, _ := call(t, srv.URL, v2012+op, `{"TableName":"two"}`); status != 400 || !strings.Contains(body, "ResourceNotFoundException") {
			t.Errorf("%s: %d %s", op, status, body)
		}
	}
}
