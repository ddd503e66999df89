package app

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// fullVar makes this test binary run an application under a limit of file length,
// which is a full disk to it, in a process of its own.
const fullVar = "APP_TEST_FULL"

type counting struct{ answers atomic.Int64 }

func (c *counting) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err == nil && resp.StatusCode == http.StatusServiceUnavailable {
		c.answers.Add(1)
	}
	return resp, err
}

// A full disk is DynamoDB's 503, which SDKs repeat by themselves; reads go on, and
// writes too once there is space.
func TestAFullDiskIsUnavailableAndRecovers(t *testing.T) {
	if os.Getenv(fullVar) == "" {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestAFullDiskIsUnavailableAndRecovers$", "-test.v")
		cmd.Env = append(os.Environ(), fullVar+"=1")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	limit := func(bytes uint64) {
		t.Helper()
		var l syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &l); err != nil {
			t.Fatal(err)
		}
		l.Cur = min(bytes, l.Max)
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &l); err != nil {
			t.Fatal(err)
		}
	}
	r := start(t, Config{})
	count := &counting{}
	c := sdk.New(sdk.Options{
		BaseEndpoint: aws.String(r.status.EndpointURL), Region: "us-east-1", RetryMaxAttempts: 3, HTTPClient: &http.Client{Transport: count},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "any", SecretAccessKey: "any"}, nil
		}),
	})
	text := strings.Repeat("x", 300_000)
	put := func(n int) error {
		_, err := c.PutItem(t.Context(), &sdk.PutItemInput{TableName: aws.String("things"), Item: map[string]types.AttributeValue{
			"id": &types.AttributeValueMemberS{Value: fmt.Sprint(n)}, "text": &types.AttributeValueMemberS{Value: text},
		}})
		return err
	}
	limit(12 << 20)
	var err error
	stored := 0
	for err == nil && stored < 1000 {
		if err = put(stored); err == nil {
			stored++
		}
	}
	if err == nil || !strings.Contains(err.Error(), "ServiceUnavailable") || !strings.Contains(err.Error(), "the disk is full") {
		t.Fatalf("after %d items: %v", stored, err)
	}
	if n := count.answers.Load(); n != 3 {
		t.Errorf("the SDK tried %d times, want 3", n)
	}
	for n := range stored {
		got, err := c.GetItem(t.Context(), &sdk.GetItemInput{TableName: aws.String("things"), Key: map[string]types.AttributeValue{"id": &types.AttributeValueMemberS{Value: fmt.Sprint(n)}}})
		if err != nil || len(got.Item) != 2 {
			t.Fatalf("item %d of %d while the disk is full: %v", n, stored, err)
		}
	}
	limit(1 << 40)
	if err := put(stored); err != nil {
		t.Errorf("with space again: %v", err)
	}
}
