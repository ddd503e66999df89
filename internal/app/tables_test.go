package app

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/livegate/livegate/internal/client"
	"github.com/livegate/livegate/internal/fault"
)

// signedBy is a client of an instance's tables that signs with a key of the user's.
func signedBy(url, accessKeyID, secret string) *sdk.Client {
	return sdk.New(sdk.Options{
		BaseEndpoint: aws.String(url), Region: "us-east-1", RetryMaxAttempts: 1, HTTPClient: http.DefaultClient,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: accessKeyID, SecretAccessKey: secret}, nil
		}),
	})
}

// own is an environment with the credentials of the user.
func own(name string) string {
	return map[string]string{"AWS_ACCESS_KEY_ID": "AKIAOWN", "AWS_SECRET_ACCESS_KEY": "own"}[name]
}

// Two instances: the second keeps its tables in the first.
func TestTablesAtAnExternalEndpoint(t *testing.T) {
	first := start(t, Config{Credentials: map[string]Credential{"AKIAOWN": {Secret: "own"}}})
	away := signedBy(first.status.EndpointURL, "AKIAOWN", "own")
	if _, err := away.DeleteTable(t.Context(), &sdk.DeleteTableInput{TableName: aws.String("things")}); err != nil {
		t.Fatal(err)
	}
	second := start(t, Config{DynamoDBEndpoint: first.status.EndpointURL, Getenv: own})
	second.waitLog("table things did not exist at " + first.status.EndpointURL)
	put := func(c *sdk.Client, id string) error {
		_, err := c.PutItem(t.Context(), &sdk.PutItemInput{TableName: aws.String("things"), Item: map[string]types.AttributeValue{"id": &types.AttributeValueMemberS{Value: id}}})
		return err
	}
	if err := put(signedBy(second.status.EndpointURL, "AKIAOWN", "own"), "a"); err != nil {
		t.Fatal(err)
	}
	got, err := away.GetItem(t.Context(), &sdk.GetItemInput{TableName: aws.String("things"), Key: map[string]types.AttributeValue{"id": &types.AttributeValueMemberS{Value: "a"}}})
	if err != nil || got.Item == nil {
		t.Errorf("at the endpoint: %v, %v", got, err)
	}
	// Nobody borrows the user's rights.
	for _, c := range []struct{ name, id, secret, want string }{
		{"a stranger's key", "AKIASTRANGER", "any", "UnrecognizedClientException"},
		{"the user's key without its secret", "AKIAOWN", "guessed", "InvalidSignatureException"},
	} {
		if err := put(signedBy(second.status.EndpointURL, c.id, c.secret), "b"); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestAnExternalEndpointThatCannotBeUsed(t *testing.T) {
	first := start(t, Config{Credentials: map[string]Credential{"AKIAOWN": {Secret: "own"}}})
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	otherKey := strings.ReplaceAll(strings.Replace(mockApp, "%s", "x", 1), "AttributeName: id", "AttributeName: other")
	template := strings.Replace(mockApp, "%s", "x", 1)
	for _, c := range []struct {
		name, template string
		cfg            Config
		want           []string
	}{
		{"not there", template, Config{DynamoDBEndpoint: gone.URL, Getenv: own}, []string{gone.URL, "does not answer"}},
		{"no credentials", template, Config{DynamoDBEndpoint: first.status.EndpointURL}, []string{"AWS_ACCESS_KEY_ID"}},
		{"wrong credentials", template, Config{DynamoDBEndpoint: first.status.EndpointURL, Getenv: func(n string) string { return own(n) + "x" }}, []string{"refuses ListTables", "UnrecognizedClientException"}},
		{"no URL", template, Config{DynamoDBEndpoint: "localhost:8000", Getenv: own}, []string{"http://localhost:8000"}},
		{"offline", template, Config{DynamoDBEndpoint: "https://dynamodb.eu-west-1.amazonaws.com", Getenv: own, Offline: true}, []string{"--offline", "--dynamodb-endpoint"}},
		{"another key", otherKey, Config{DynamoDBEndpoint: first.status.EndpointURL, Getenv: own, Offline: true}, []string{"things", "primary key id", "other in the template"}},
		{"tables", template, Config{Tables: "quick"}, []string{"durable or fast"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg, _ := project(t, c.template)
			c.cfg.Path, c.cfg.CacheDir = cfg.Path, cfg.CacheDir
			err := New(c.cfg).Run(t.Context(), func(client.Status) { t.Error("started") })
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
		})
	}
}

func TestFastTables(t *testing.T) {
	cfg, _ := project(t, strings.Replace(mockApp, "%s", "x", 1))
	cfg.Tables, cfg.DataDir = "fast", filepath.Join(t.TempDir(), "data")
	for _, want := range []int{0, 1} { // what was written is there at the next start
		ctx, cancel := context.WithCancel(t.Context())
		ready, done := run(t, ctx, New(cfg))
		c := signedBy((<-ready).EndpointURL, "any", "any")
		got, err := c.Scan(ctx, &sdk.ScanInput{TableName: aws.String("things")})
		if err != nil || int(got.Count) != want {
			t.Errorf("%v, %v; want %d items", got, err, want)
		}
		if _, err := c.PutItem(ctx, &sdk.PutItemInput{TableName: aws.String("things"), Item: map[string]types.AttributeValue{"id": &types.AttributeValueMemberS{Value: "a"}}}); err != nil {
			t.Error(err)
		}
		http.DefaultClient.CloseIdleConnections()
		cancel()
		if err := result(t, done); err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	if got := fault.KindOf((&Config{Tables: "x"}).Validate()); got != fault.BadRequest {
		t.Error(got)
	}
}
