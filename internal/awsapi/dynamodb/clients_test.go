package dynamodb_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	streamtypes "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
)

func TestGoSDKStreams(t *testing.T) {
	srv, _ := newServer(t)
	c := client(srv)
	ctx := t.Context()
	createConnections(t, c)
	on, err := c.UpdateTable(ctx, &sdk.UpdateTableInput{
		TableName:           aws.String("connections"),
		StreamSpecification: &types.StreamSpecification{StreamEnabled: aws.Bool(true), StreamViewType: types.StreamViewTypeNewAndOldImages},
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		putConnection(t, c, "c1", "lobby", i)
	}
	if _, err := c.DeleteItem(ctx, &sdk.DeleteItemInput{TableName: aws.String("connections"), Key: values{"id": str("c1")}}); err != nil {
		t.Fatal(err)
	}
	options := c.Options()
	s := dynamodbstreams.New(dynamodbstreams.Options{BaseEndpoint: options.BaseEndpoint, Region: options.Region, Credentials: options.Credentials, RetryMaxAttempts: 1})
	list, err := s.ListStreams(ctx, &dynamodbstreams.ListStreamsInput{TableName: aws.String("connections")})
	if err != nil || len(list.Streams) != 1 || aws.ToString(list.Streams[0].StreamArn) != aws.ToString(on.TableDescription.LatestStreamArn) {
		t.Fatal(list, err)
	}
	about, err := s.DescribeStream(ctx, &dynamodbstreams.DescribeStreamInput{StreamArn: list.Streams[0].StreamArn})
	if err != nil || len(about.StreamDescription.Shards) != 1 {
		t.Fatal(about, err)
	}
	it, err := s.GetShardIterator(ctx, &dynamodbstreams.GetShardIteratorInput{
		StreamArn: list.Streams[0].StreamArn, ShardId: about.StreamDescription.Shards[0].ShardId, ShardIteratorType: streamtypes.ShardIteratorTypeTrimHorizon,
	})
	if err != nil {
		t.Fatal(err)
	}
	var seen []string
	for next := it.ShardIterator; len(seen) < 6; { // pages of two
		page, err := s.GetRecords(ctx, &dynamodbstreams.GetRecordsInput{ShardIterator: next, Limit: aws.Int32(2)})
		if err != nil || len(page.Records) == 0 {
			t.Fatal(seen, page, err)
		}
		for _, r := range page.Records {
			at := ""
			if v, ok := r.Dynamodb.NewImage["at"].(*streamtypes.AttributeValueMemberN); ok {
				at = v.Value
			}
			seen = append(seen, string(r.EventName)+at)
		}
		next = page.NextShardIterator
	}
	if got := strings.Join(seen, " "); got != "INSERT0 MODIFY1 MODIFY2 MODIFY3 MODIFY4 REMOVE" {
		t.Error(got)
	}
	_, err = s.GetRecords(ctx, &dynamodbstreams.GetRecordsInput{ShardIterator: aws.String("none")})
	if err == nil {
		t.Error("an iterator that is none was taken")
	}
}

// The command line of AWS: commands, its pages, its waiters, streams.
func TestAWSCommandLine(t *testing.T) {
	if err := exec.CommandContext(t.Context(), "aws", "--version").Run(); err != nil {
		t.Skip("the aws command is not installed")
	}
	srv, _ := newServer(t)
	run := func(service string, args ...string) (out map[string]any) {
		t.Helper()
		args = append([]string{service, "--endpoint-url", srv.URL, "--region", "us-east-1", "--output", "json"}, args...)
		cmd := exec.CommandContext(t.Context(), "aws", args...)
		cmd.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID=local", "AWS_SECRET_ACCESS_KEY=local", "AWS_CONFIG_FILE=/dev/null", "AWS_EC2_METADATA_DISABLED=true", "AWS_PAGER=", "NO_PROXY=127.0.0.1", "no_proxy=127.0.0.1")
		var problem strings.Builder
		cmd.Stderr = &problem
		text, err := cmd.Output()
		if err != nil {
			t.Fatalf("aws %s: %v %s", strings.Join(args, " "), err, problem.String())
		}
		if len(text) > 0 {
			if err := json.Unmarshal(text, &out); err != nil {
				t.Fatalf("aws %s: %v\n%s", strings.Join(args, " "), err, text)
			}
		}
		return out
	}
	created := run("dynamodb", "create-table", "--table-name", "pages", "--billing-mode", "PAY_PER_REQUEST", "--attribute-definitions", "AttributeName=id,AttributeType=S",
		"--key-schema", "AttributeName=id,KeyType=HASH", "--stream-specification", "StreamEnabled=true,StreamViewType=NEW_IMAGE")
	run("dynamodb", "wait", "table-exists", "--table-name", "pages")
	var writes []string
	for i := range 7 {
		writes = append(writes, fmt.Sprintf(`{"Put":{"TableName":"pages","Item":{"id":{"S":"i%d"}}}}`, i))
	}
	run("dynamodb", "transact-write-items", "--transact-items", "["+strings.Join(writes, ",")+"]")
	if got := run("dynamodb", "scan", "--table-name", "pages", "--page-size", "2"); got["Count"] != 7.0 || len(got["Items"].([]any)) != 7 {
		t.Errorf("scan in pages: %v", got)
	}
	arn := created["TableDescription"].(map[string]any)["LatestStreamArn"].(string)
	about := run("dynamodbstreams", "describe-stream", "--stream-arn", arn)
	shard := about["StreamDescription"].(map[string]any)["Shards"].([]any)[0].(map[string]any)["ShardId"].(string)
	it := run("dynamodbstreams", "get-shard-iterator", "--stream-arn", arn, "--shard-id", shard, "--shard-iterator-type", "TRIM_HORIZON")
	if got := run("dynamodbstreams", "get-records", "--shard-iterator", it["ShardIterator"].(string)); len(got["Records"].([]any)) != 7 {
		t.Errorf("stream: %v", got)
	}
	run("dynamodb", "delete-table", "--table-name", "pages")
	run("dynamodb", "wait", "table-not-exists", "--table-name", "pages")
}
