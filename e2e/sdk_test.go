package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// nodeRoutes are the routes of testdata/sdks whose functions run on Node.
var nodeRoutes = []string{"node-v2", "node-v3", "node-esm", "node-fetch", "node-http2", "node-bundle"}

// Function code names AWS in every way there is; its calls must come home.
func TestSDKsInsideFunctions(t *testing.T) {
	need(t, "node")
	need(t, "npm")
	g := launch{Dir: sdksApp(t, hasBoto3(t))}.start(t)
	checkRoutes(t, g, routesOf(t, g))
}

// The installed Node is one of many: the hook must hold on every major.
func TestEveryNodeMajor(t *testing.T) {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		t.Skipf("the npm packages with Node are for linux-x64, not %s-%s", runtime.GOOS, runtime.GOARCH)
	}
	if testing.Short() {
		t.Skip("installs several Nodes; not with -short")
	}
	dir := npmInstall(t, "nodes")
	for _, major := range []string{"18", "22", "24"} {
		t.Run("node "+major, func(t *testing.T) {
			bin := filepath.Join(dir, "node_modules", "node"+major, "bin")
			out, err := exec.Command(filepath.Join(bin, "node"), "--version").Output()
			if err != nil || !strings.HasPrefix(string(out), "v"+major+".") {
				t.Fatalf("node --version: %s %v", out, err)
			}
			app := without(t, sdksApp(t, false), "GoV1", "GoV2")
			l := launch{Dir: app, Env: []string{"PATH=" + bin + string(os.PathListSeparator) + os.Getenv("PATH")}}
			g := l.start(t)
			checkRoutes(t, g, nodeRoutes)
		})
	}
}

// checkRoutes has each function post through both callback URLs and write an item.
func checkRoutes(t *testing.T, g *gate, routes []string) {
	t.Helper()
	for _, route := range routes {
		t.Run(route, func(t *testing.T) {
			g := g.in(t)
			s := dial(t, g.stage("dev").WebSocketURL, dialing{})
			s.call(route, nil)
			for _, want := range []string{"domain " + route, "api " + route} {
				if got := s.within(time.Minute); got != want { // a cold start may load a whole SDK
					t.Fatalf("frame %q, want %q", got, want)
				}
			}
			eventually(t, frameWithin, func() error { return g.holds(route) })
			s.expectSilence()
		})
	}
}

// holds reports whether the application's only table has an item with this id.
func (g *gate) holds(id string) error {
	got, err := g.database().GetItem(g.t.Context(), &dynamodb.GetItemInput{
		TableName:      aws.String(g.status.Tables[0].Name),
		Key:            map[string]types.AttributeValue{"id": &types.AttributeValueMemberS{Value: id}},
		ConsistentRead: aws.Bool(true),
	})
	if err == nil && got.Item == nil {
		return &missingItem{id}
	}
	return err
}

type missingItem struct{ id string }

func (m *missingItem) Error() string { return "no item " + m.id }

// sdksApp is a copy of testdata/sdks, without Python where boto3 is missing.
func sdksApp(t *testing.T, python bool) string {
	t.Helper()
	dir := copyApp(t, "sdks")
	if !python {
		return without(t, dir, "Python")
	}
	return dir
}

// hasBoto3 reports whether boto3 is there, and says so when it is not.
func hasBoto3(t *testing.T) bool {
	t.Helper()
	if err := exec.Command("python3", "-c", "import boto3").Run(); err != nil {
		t.Log("python3 has no boto3: its function is left out")
		return false
	}
	return true
}

// without removes functions, with their routes and integrations, from the template.
func without(t *testing.T, dir string, names ...string) string {
	t.Helper()
	path := filepath.Join(dir, "template.yaml")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(text), "\n\n")
	var kept []string
	for _, block := range blocks {
		drop := false
		for _, name := range names {
			drop = drop || strings.HasPrefix(block, "  "+name+"Function:")
		}
		if !drop {
			kept = append(kept, block)
		}
	}
	if len(blocks)-len(kept) != len(names) {
		t.Fatalf("removed %d blocks for %q", len(blocks)-len(kept), names)
	}
	write(t, path, strings.Join(kept, "\n\n"))
	return dir
}

// routesOf are the routes that the application has functions for.
func routesOf(t *testing.T, g *gate) []string {
	t.Helper()
	routes := append([]string{}, nodeRoutes...)
	for _, f := range g.status.Functions {
		switch {
		case strings.Contains(f.Name, "Python"):
			routes = append(routes, "python")
		case strings.Contains(f.Name, "GoV1"):
			routes = append(routes, "go-v1")
		case strings.Contains(f.Name, "GoV2"):
			routes = append(routes, "go-v2")
		}
	}
	return routes
}
