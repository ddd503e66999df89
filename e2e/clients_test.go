package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// client runs somebody else's client to its end; it must succeed.
func (g *gate) client(dir, name string, args ...string) string {
	g.t.Helper()
	out, err := g.tryClient(dir, name, args...)
	if err != nil {
		g.t.Fatalf("%s %s: %v\n%s", filepath.Base(name), strings.Join(args, " "), err, out)
	}
	return out
}

// tryClient runs somebody else's client to its end.
func (g *gate) tryClient(dir, name string, args ...string) (string, error) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), 90*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.WaitDelay = time.Second
	cmd.Env = append(os.Environ(),
		"AWS_ACCESS_KEY_ID="+localCredentials().AccessKeyID, "AWS_SECRET_ACCESS_KEY="+localCredentials().SecretAccessKey,
		"AWS_REGION="+g.status.Region, "AWS_DEFAULT_REGION="+g.status.Region, "AWS_ENDPOINT_URL="+g.status.EndpointURL,
		"AWS_EC2_METADATA_DISABLED=true", "NO_PROXY=localhost,127.0.0.1", "no_proxy=localhost,127.0.0.1",
		"AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED=true")
	// wscat ends with its standard input: keep that open.
	stdin, err := cmd.StdinPipe()
	if err != nil {
		g.t.Fatal(err)
	}
	defer stdin.Close()
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestNodeClients(t *testing.T) {
	dir := npmInstall(t, "clients")
	p := startProbe(t, launch{}, nil)
	stage := p.stage("test")
	t.Run("ws", func(t *testing.T) {
		p := p.in(t)
		p.client(dir, "node", "ws.mjs", stage.WebSocketURL, stage.SecureWebSocketURL, p.status.CAFile)
	})
	t.Run("wscat", func(t *testing.T) {
		p := p.in(t)
		wscat := filepath.Join(dir, "node_modules", ".bin", "wscat")
		out := p.client(dir, wscat, "--no-color", "-c", p.url("tag=wscat"), "-w", "2", "-x", `{"action":"echo","data":"hello from wscat"}`, "-x", "nonsense")
		for _, want := range []string{"hello from wscat", `{"message": "Forbidden", `} {
			if !strings.Contains(out, want) {
				t.Errorf("wscat did not print %q:\n%s", want, out)
			}
		}
		if r := p.recorded("disconnect", "wscat"); r.Code != 1000 && r.Code != 1005 && r.Code != 1006 {
			t.Errorf("$disconnect with %d", r.Code)
		}
		refused, err := p.tryClient(dir, wscat, "--no-color", "-c", p.url("mode=status&status=401"), "-w", "1")
		if !strings.Contains(refused, "Unexpected server response: 401") {
			t.Errorf("wscat on a refusal printed (%v):\n%s", err, refused)
		}
	})
	t.Run("wscat over TLS", func(t *testing.T) {
		p := p.in(t)
		wscat := filepath.Join(dir, "node_modules", ".bin", "wscat")
		out := p.client(dir, wscat, "--no-color", "--ca", p.status.CAFile, "-c", stage.SecureWebSocketURL, "-w", "2", "-x", `{"action":"echo","data":"secret"}`)
		if !strings.Contains(out, "secret") {
			t.Errorf("wscat printed:\n%s", out)
		}
	})
	t.Run("SDK for JavaScript v3", func(t *testing.T) {
		p := p.in(t)
		s := dial(t, p.url("tag=sdk3"), dialing{})
		p.client(dir, "node", "sdk3.mjs", stage.ManagementURL, p.recorded("connect", "sdk3").ConnectionID, "probe-items", "probe-poster")
		s.expect("from SDK v3")
		if r := p.recorded("disconnect", "sdk3"); r.Code != 1000 {
			t.Errorf("DeleteConnection: $disconnect with %d", r.Code)
		}
	})
	t.Run("SDK for JavaScript v2", func(t *testing.T) {
		p := p.in(t)
		s := dial(t, p.url("tag=sdk2"), dialing{})
		p.client(dir, "node", "sdk2.cjs", p.status.EndpointURL, stage.ManagementURL, p.recorded("connect", "sdk2").ConnectionID, "probe-items")
		s.expect("from SDK v2")
	})
}

func TestPythonClient(t *testing.T) {
	python := needBoto3(t)
	p := startProbe(t, launch{}, nil)
	s := dial(t, p.url("tag=boto3"), dialing{})
	p.client("clients", python, "sdk.py", p.stage("test").ManagementURL, p.recorded("connect", "boto3").ConnectionID, "probe-items")
	s.expect("from boto3")
}

// database is the AWS SDK for Go v2 on a running instance.
func (g *gate) database() *dynamodb.Client {
	return dynamodb.New(dynamodb.Options{
		Region:           g.status.Region,
		BaseEndpoint:     aws.String(g.status.EndpointURL),
		Credentials:      aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return localCredentials(), nil }),
		RetryMaxAttempts: 1,
	})
}

func TestGoClientAndTablesSurviveAKill(t *testing.T) {
	p := startProbe(t, launch{}, nil)
	put := func(id string) error {
		_, err := p.database().PutItem(t.Context(), &dynamodb.PutItemInput{
			TableName: aws.String("probe-items"),
			Item:      map[string]types.AttributeValue{"id": &types.AttributeValueMemberS{Value: id}},
		})
		return err
	}
	var acknowledged []string
	stop := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for i := 0; ; i++ {
			id := "item-" + strings.Repeat("i", i%7) + time.Now().Format(".000000000")
			if put(id) != nil {
				return // the kill
			}
			acknowledged = append(acknowledged, id)
			if i == 200 {
				close(stop)
			}
		}
	}()
	select {
	case <-stop:
	case <-time.After(time.Minute):
		t.Fatal("200 items were not written within a minute")
	}
	p.kill() // in the middle of writes
	<-ended
	p.gate = p.again()

	stored := map[string]bool{}
	pages := dynamodb.NewScanPaginator(p.database(), &dynamodb.ScanInput{TableName: aws.String("probe-items"), Limit: aws.Int32(50)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range page.Items {
			stored[item["id"].(*types.AttributeValueMemberS).Value] = true
		}
	}
	for _, id := range acknowledged {
		if !stored[id] {
			t.Errorf("%s was acknowledged and is lost (%d of %d stored)", id, len(stored), len(acknowledged))
		}
	}
}
