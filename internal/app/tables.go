package app

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/livegate/livegate/internal/awsapi/dynamodb"
	"github.com/livegate/livegate/internal/awsapi/dynamodbproxy"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/model"
	"github.com/livegate/livegate/internal/storage"
	"github.com/livegate/livegate/internal/table"
)

// How our own tables are kept.
const (
	tablesDurable = "durable"
	tablesFast    = "fast"
)

// checkTables is the part of Validate about tables.
func (c *Config) checkTables() error {
	switch c.Tables {
	case "", tablesDurable, tablesFast:
	default:
		return fault.New(fault.BadRequest, "--tables %q: want durable or fast", c.Tables)
	}
	if c.DynamoDBEndpoint == "" {
		return nil
	}
	u, err := url.Parse(c.DynamoDBEndpoint)
	if err == nil && c.Offline && !loopback(u.Hostname()) {
		return fault.New(fault.BadRequest, "--offline and --dynamodb-endpoint %s: with --offline nothing leaves this machine; leave one of them out", u.Redacted())
	}
	return nil // dynamodbproxy.New says what is wrong with the URL itself
}

func loopback(host string) bool {
	if host = strings.TrimSuffix(strings.ToLower(host), "."); host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// openTables opens the state file and what answers for DynamoDB: the tables in
// it, or another endpoint, which must be there and take our credentials.
func (a *App) openTables(ctx context.Context, app *model.App) (err error) {
	cfg := storage.Config{Sync: a.metrics.commitSync, Fast: a.cfg.Tables == tablesFast}
	if a.db, err = storage.Open(filepath.Join(a.dirs.data, "state.db"), cfg); err != nil {
		return a.inUse(err)
	}
	if a.cfg.DynamoDBEndpoint == "" {
		a.tables, err = table.New(table.Config{
			Store: table.Over(a.db), Clock: a.clock, Region: app.Region, AccountID: app.AccountID,
		})
		return err
	}
	if a.external, err = dynamodbproxy.New(dynamodbproxy.Config{
		Endpoint: a.cfg.DynamoDBEndpoint, Region: app.Region, Credentials: a.ownCredentials,
		Known: func(accessKeyID string) bool { _, ok := a.callerSecret(accessKeyID); return ok },
	}); err != nil {
		return err
	}
	return a.external.Check(ctx)
}

// declareTables brings the template's tables into being.
func (a *App) declareTables(ctx context.Context, tables []*model.Table) error {
	if a.external == nil {
		return a.tables.Declare(ctx, tables)
	}
	created, err := a.external.Ensure(ctx, tables)
	for _, name := range created {
		a.note("info", "livegate", "table %s did not exist at %s and was created there", name, a.cfg.DynamoDBEndpoint)
	}
	return err
}

// dynamoDB answers for the service.
func (a *App) dynamoDB() http.Handler {
	if a.external != nil {
		return a.external
	}
	return dynamodb.New(a.tables)
}

// callerSecret is secret, and with an external endpoint the user's own key too:
// who names it must have it, since calls go on with that key's rights.
func (a *App) callerSecret(accessKeyID string) (string, bool) {
	if s, ok := a.secret(accessKeyID); ok || a.external == nil {
		return s, ok
	}
	own, err := a.ownCredentials()
	return own.Secret, err == nil && own.ID == accessKeyID
}
