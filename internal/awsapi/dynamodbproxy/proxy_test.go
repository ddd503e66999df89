package dynamodbproxy_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"go.uber.org/goleak"

	"github.com/livegate/livegate/internal/awsapi"
	"github.com/livegate/livegate/internal/awsapi/dynamodb"
	"github.com/livegate/livegate/internal/awsapi/dynamodbproxy"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/model"
	"github.com/livegate/livegate/internal/sigv4"
	"github.com/livegate/livegate/internal/storage"
	"github.com/livegate/livegate/internal/table"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var mine = sigv4.Key{ID: "AKIAMINE", Secret: "mine", Token: "session"}

func credentials() (sigv4.Key, error) { return mine, nil }

// other is another Livegate that takes mine only, and what it was sent.
func other(t *testing.T) (url string, seen *http.Header) {
	t.Helper()
	db, err := storage.Open(filepath.Join(t.TempDir(), "x.db"), storage.Config{Fast: true})
	if err != nil {
		t.Fatal(err)
	}
	engine, err := table.New(table.Config{Store: table.Over(db), Region: "eu-west-1"})
	if err != nil {
		t.Fatal(err)
	}
	front := awsapi.New(awsapi.Config{
		Services:     map[string]http.Handler{"dynamodb": dynamodb.New(engine)},
		Secret:       func(id string) (string, bool) { return mine.Secret, id == mine.ID },
		RequireValid: true,
	})
	seen = &http.Header{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*seen = r.Header.Clone()
		front.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		srv.Close()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return srv.URL, seen
}

// before serves a proxy to an endpoint.
func before(t *testing.T, cfg dynamodbproxy.Config) (*dynamodbproxy.Handler, *sdk.Client, string) {
	t.Helper()
	if cfg.Credentials == nil {
		cfg.Credentials = credentials
	}
	own := &http.Transport{DisableCompression: true}
	t.Cleanup(own.CloseIdleConnections)
	if cfg.Transport == nil {
		cfg.Transport = own
	}
	h, err := dynamodbproxy.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return h, sdk.New(sdk.Options{
		BaseEndpoint: aws.String(srv.URL), Region: "us-east-1", RetryMaxAttempts: 1, HTTPClient: srv.Client(),
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "AKIAWORKER", SecretAccessKey: "worker's", SessionToken: "worker's"}, nil
		}),
	}), srv.URL
}

func TestARealClientThroughTheProxy(t *testing.T) {
	url, seen := other(t)
	h, c, _ := before(t, dynamodbproxy.Config{Endpoint: url, Region: "eu-west-1"})
	ctx := t.Context()
	if err := h.Check(ctx); err != nil {
		t.Fatal(err)
	}
	_, err := c.CreateTable(ctx, &sdk.CreateTableInput{
		TableName: aws.String("things"), BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("id"), AttributeType: types.ScalarAttributeTypeS}},
		KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String("id"), KeyType: types.KeyTypeHash}},
	})
	if err != nil {
		t.Fatal(err)
	}
	it := map[string]types.AttributeValue{"id": &types.AttributeValueMemberS{Value: "a"}, "text": &types.AttributeValueMemberS{Value: strings.Repeat("é", 100_000)}}
	if _, err := c.PutItem(ctx, &sdk.PutItemInput{TableName: aws.String("things"), Item: it}); err != nil {
		t.Fatal(err)
	}
	got, err := c.GetItem(ctx, &sdk.GetItemInput{TableName: aws.String("things"), Key: map[string]types.AttributeValue{"id": it["id"]}}) // checks the CRC
	if err != nil || len(got.Item) != 2 {
		t.Fatal(got, err)
	}
	_, err = c.PutItem(ctx, &sdk.PutItemInput{TableName: aws.String("things"), Item: it, ConditionExpression: aws.String("attribute_not_exists(id)")})
	if _, ok := errors.AsType[*types.ConditionalCheckFailedException](err); !ok {
		t.Errorf("a refusal did not come through: %v", err)
	}
	if auth := seen.Get("Authorization"); !strings.Contains(auth, "AKIAMINE/") || !strings.Contains(auth, "/eu-west-1/dynamodb/") {
		t.Errorf("signed with %s", auth)
	}
	if seen.Get("X-Amz-Security-Token") != "session" {
		t.Errorf("the token that went along: %q", seen.Get("X-Amz-Security-Token"))
	}
}

// The region of an AWS host is what AWS checks the signature against.
func TestRegionComesFromTheHost(t *testing.T) {
	auth := ""
	h, err := dynamodbproxy.New(dynamodbproxy.Config{
		Endpoint: "https://dynamodb.ap-southeast-2.amazonaws.com", Region: "eu-west-1", Credentials: credentials,
		Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			auth = r.Header.Get("Authorization")
			return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(`{"TableNames":[]}`))}, nil
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Check(t.Context()); err != nil || !strings.Contains(auth, "/ap-southeast-2/dynamodb/") {
		t.Errorf("%q, %v", auth, err)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestWhoMayCall(t *testing.T) {
	url, _ := other(t)
	_, c, _ := before(t, dynamodbproxy.Config{Endpoint: url, Known: func(id string) bool { return id == "AKIASOMEBODY" }})
	if _, err := c.ListTables(t.Context(), &sdk.ListTablesInput{}); err == nil || !strings.Contains(err.Error(), "UnrecognizedClientException") {
		t.Errorf("a stranger's call: %v", err)
	}
	_, c, _ = before(t, dynamodbproxy.Config{Endpoint: url, Known: func(id string) bool { return id == "AKIAWORKER" }})
	if _, err := c.ListTables(t.Context(), &sdk.ListTablesInput{}); err != nil {
		t.Errorf("a worker's call: %v", err)
	}
}

func TestWhatGoesWrongIsSaid(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	h, _, _ := before(t, dynamodbproxy.Config{Endpoint: srv.URL})
	if err := h.Check(t.Context()); !fault.Is(err, fault.BadRequest) || !strings.Contains(err.Error(), "does not look like DynamoDB") {
		t.Errorf("something else: %v", err)
	}
	srv.Close()
	h, c, _ := before(t, dynamodbproxy.Config{Endpoint: srv.URL})
	if err := h.Check(t.Context()); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), srv.URL) {
		t.Errorf("nobody there: %v", err)
	}
	if _, err := c.ListTables(t.Context(), &sdk.ListTablesInput{}); err == nil || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("nobody there: %v", err)
	}
	url, _ := other(t)
	_, c, _ = before(t, dynamodbproxy.Config{Endpoint: url, Credentials: func() (sigv4.Key, error) {
		return sigv4.Key{}, fault.New(fault.Unauthorized, "AWS_ACCESS_KEY_ID is not set")
	}})
	if _, err := c.ListTables(t.Context(), &sdk.ListTablesInput{}); err == nil || !strings.Contains(err.Error(), "AWS_ACCESS_KEY_ID is not set") {
		t.Errorf("no credentials: %v", err)
	}
	h, _, _ = before(t, dynamodbproxy.Config{Endpoint: url, Credentials: func() (sigv4.Key, error) { return sigv4.Key{ID: "AKIAMINE", Secret: "wrong"}, nil }})
	if err := h.Check(t.Context()); !fault.Is(err, fault.Forbidden) {
		t.Errorf("wrong credentials: %v", err)
	}
	for _, bad := range []string{"", "localhost:8000", "ftp://x", "http://", "http://a:b@x", "http://x/?y", "http://x#y", ":"} {
		if _, err := dynamodbproxy.New(dynamodbproxy.Config{Endpoint: bad, Credentials: credentials}); !fault.Is(err, fault.BadRequest) || strings.Contains(err.Error(), "a:b") {
			t.Errorf("endpoint %q: %v", bad, err)
		}
	}
}

// An endpoint that is the proxy itself must not call itself for ever.
func TestALoopIsRefused(t *testing.T) {
	var front http.Handler
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { front.ServeHTTP(w, r) }))
	defer srv.Close()
	own := &http.Transport{}
	defer own.CloseIdleConnections()
	h, err := dynamodbproxy.New(dynamodbproxy.Config{Endpoint: srv.URL, Credentials: credentials, Transport: own})
	if err != nil {
		t.Fatal(err)
	}
	front = h
	if err := h.Check(t.Context()); !fault.Is(err, fault.Forbidden) || !strings.Contains(err.Error(), "leads back to this Livegate") {
		t.Error(err)
	}
}

func TestBadRequestsAreAnsweredHere(t *testing.T) {
	_, _, url := before(t, dynamodbproxy.Config{Endpoint: "http://127.0.0.1:1"})
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, c := range []struct {
		method, target string
		body           int
		status         int
	}{
		{http.MethodGet, "DynamoDB_20120810.ListTables", 0, 400},
		{http.MethodPost, "", 0, 400},
		{http.MethodPost, "Lambda.Invoke", 0, 400},
		{http.MethodPost, "DynamoDB_20120810.PutItem", 25 << 20, 413},
	} {
		req, err := http.NewRequestWithContext(t.Context(), c.method, url, strings.NewReader(strings.Repeat(" ", c.body)))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Amz-Target", c.target)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if resp.Body.Close(); resp.StatusCode != c.status {
			t.Errorf("%s %s: %d", c.method, c.target, resp.StatusCode)
		}
	}
}

// The tables of a template come into being with everything it says of them.
func TestEnsureCreatesWhatIsMissing(t *testing.T) {
	url, _ := other(t)
	h, c, _ := before(t, dynamodbproxy.Config{Endpoint: url})
	things := &model.Table{
		Name: "things", OnDemand: true, TTL: "ends", StreamView: "KEYS_ONLY", Protected: true,
		Attributes: map[string]string{"id": "S", "at": "N", "room": "S"}, Key: model.KeySchema{Hash: "id", Range: "at"},
		GSIs: []model.Index{{Name: "byRoom", Key: model.KeySchema{Hash: "room"}, Projection: "INCLUDE", NonKey: []string{"x"}}},
		LSIs: []model.Index{{Name: "local", Key: model.KeySchema{Hash: "id", Range: "room"}}},
	}
	paid := &model.Table{Name: "paid", Read: 3, Write: 4, Attributes: map[string]string{"id": "S"}, Key: model.KeySchema{Hash: "id"}}
	tables := []*model.Table{things, paid}
	created, err := h.Ensure(t.Context(), tables)
	if err != nil || strings.Join(created, " ") != "things paid" {
		t.Fatal(created, err)
	}
	got, err := c.DescribeTable(t.Context(), &sdk.DescribeTableInput{TableName: aws.String("things")})
	if err != nil {
		t.Fatal(err)
	}
	d := got.Table
	if len(d.KeySchema) != 2 || len(d.AttributeDefinitions) != 3 || len(d.GlobalSecondaryIndexes) != 1 || len(d.LocalSecondaryIndexes) != 1 ||
		d.GlobalSecondaryIndexes[0].Projection.NonKeyAttributes[0] != "x" || d.LocalSecondaryIndexes[0].Projection.ProjectionType != types.ProjectionTypeAll ||
		d.StreamSpecification.StreamViewType != types.StreamViewTypeKeysOnly || !aws.ToBool(d.DeletionProtectionEnabled) || d.BillingModeSummary.BillingMode != types.BillingModePayPerRequest {
		t.Errorf("%+v", d)
	}
	ttl, err := c.DescribeTimeToLive(t.Context(), &sdk.DescribeTimeToLiveInput{TableName: aws.String("things")})
	if err != nil || aws.ToString(ttl.TimeToLiveDescription.AttributeName) != "ends" {
		t.Error(ttl, err)
	}
	got, err = c.DescribeTable(t.Context(), &sdk.DescribeTableInput{TableName: aws.String("paid")})
	if err != nil || aws.ToInt64(got.Table.ProvisionedThroughput.WriteCapacityUnits) != 4 {
		t.Error(got, err)
	}
	if created, err := h.Ensure(t.Context(), tables); err != nil || len(created) != 0 {
		t.Errorf("again: %v, %v", created, err)
	}
	paid.Key.Hash = "other"
	if _, err := h.Ensure(t.Context(), tables); !fault.Is(err, fault.Conflict) {
		t.Errorf("another key: %v", err)
	}
}
