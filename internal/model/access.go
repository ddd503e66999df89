package model

// Who may open a connection, and how much it may ask for.

// APIKey is an AWS::ApiGateway::ApiKey.
type APIKey struct {
	LogicalID string
	ID        string // 10 characters, stable across restarts
	Name      string
	Value     string // 20–128 characters
	Enabled   bool
	Pos       Pos
}

// UsagePlan is an AWS::ApiGateway::UsagePlan with the keys that
// AWS::ApiGateway::UsagePlanKey resources put into it.
type UsagePlan struct {
	LogicalID string
	ID        string
	Name      string
	Keys      []string // APIKey.ID
	Stages    []PlanStage
	Throttle  Throttle
	Quota     Quota
	Pos       Pos
}

// PlanStage is a stage that a usage plan gives access to.
type PlanStage struct {
	APIID  string
	Stage  string
	Routes map[string]Throttle // by route key
}

// Throttle is a token bucket. The zero value does not limit.
type Throttle struct {
	Rate  float64 // per second
	Burst int
}

// Quota is a number of requests in a calendar period. Limit 0: none.
type Quota struct {
	Limit  int64
	Offset int64  // taken off the first period
	Period string // DAY, WEEK, MONTH
}

// Access is what Livegate checks beyond AWS (Metadata: Livegate: on the $connect
// route or on the API, which AWS ignores).
type Access struct {
	// Origins are the web origins that may connect ("https://app.example.com",
	// "https://*.example.com", "same-host"); empty: every one.
	Origins []string
	// Token says where the client's token is, in order: "header.Authorization",
	// "querystring.token", "subprotocol.bearer" (the protocol that follows "bearer" in
	// Sec-WebSocket-Protocol), "cookie.session" (Origins is then same-host unless it
	// says otherwise). Empty: header.Authorization.
	Token []string
	JWT   *JWT // nil: none
	Pos   Pos
}

// JWT says whose tokens open a connection.
type JWT struct {
	Issuer    string   // https URL, without a trailing path to its configuration
	JWKS      string   // URL of the keys; "" means: ask the issuer
	Audiences []string // one of them must be in aud (or client_id)
	Scopes    []string // all of them must be in scope (or scp)
	Pos       Pos
}
