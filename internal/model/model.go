// Package model is the vocabulary every engine and plane shares: plain data that
// says what an application is made of. It knows no storage, no wire, no
// template; `stack` fills it in and `app` hands it to the engines.
//
// Values are immutable once handed over: a reload builds a new *App and swaps
// it, so a reader may keep what it holds for as long as it likes.
package model

import (
	"fmt"
	"time"
)

// Pos is where in the user's files a value came from. The zero Pos is unknown.
type Pos struct {
	File string `json:"file,omitempty"` // as the user named it, relative where possible
	Line int    `json:"line,omitempty"` // 1-based
	Col  int    `json:"col,omitempty"`  // 1-based
}

func (p Pos) String() string {
	switch {
	case p.File == "":
		return ""
	case p.Line == 0:
		return p.File
	}
	return fmt.Sprintf("%s:%d", p.File, p.Line)
}

// App is one loaded template.
type App struct {
	StackName string
	Region    string
	AccountID string
	Partition string // "aws", "aws-cn", "aws-us-gov"
	URLSuffix string // "amazonaws.com" or "amazonaws.com.cn"
	Dir       string // absolute directory of the template

	APIs      []*API
	Functions []*Function
	Layers    []*Layer
	Tables    []*Table
	Sources   []*EventSource
	Domains   []*Domain
	Outputs   []Output

	APIKeys    []*APIKey
	UsagePlans []*UsagePlan
}

// Output is a resolved template output.
type Output struct {
	Name, Value, Description string
	Pos                      Pos
}

// API is a WebSocket API.
type API struct {
	LogicalID                 string
	ID                        string // 10 characters, stable across restarts
	Name                      string
	RouteSelectionExpression  string // e.g. "$request.body.action"
	APIKeySelectionExpression string
	DisableExecuteAPIEndpoint bool
	Routes                    []*Route
	Stages                    []*Stage
	Authorizers               []*Authorizer
	Models                    []*Model
	// Access is checked for every connection, be there a $connect route or not; what
	// the $connect route's says goes before it. nil: nothing.
	Access *Access
	Pos    Pos
}

// Route keys with a meaning of their own.
const (
	RouteConnect    = "$connect"
	RouteDisconnect = "$disconnect"
	RouteDefault    = "$default"
)

// Route is a route key and what stands behind it.
type Route struct {
	LogicalID                string
	ID                       string
	Key                      string
	Integration              *Integration // nil: no target
	TwoWay                   bool         // a RouteResponse "$default" exists; nothing else decides
	AuthorizationType        string       // "", "NONE", "AWS_IAM", "CUSTOM"
	AuthorizerID             string       // Authorizer.ID
	APIKeyRequired           bool
	ModelSelectionExpression string
	RequestModels            map[string]string // selection key → Model.Name
	RequestParameters        map[string]bool   // "route.request.querystring.x" → required
	Channel                  *Channel          // nil: none
	// Ordered: a connection's messages on ordered routes run one by one, in the order
	// of their arrival (Metadata: Livegate: Ordered: true).
	Ordered bool
	// Reauthorize: a message's $request.body.token replaces the token that opened its
	// connection (Metadata: Livegate: Reauthorize: true).
	Reauthorize bool
	// Scopes are what the client's token must hold for this route (Metadata:
	// Livegate: Scopes: [...]); nil: nothing.
	Scopes []string
	Access *Access // of a $connect route; nil: none
	Pos    Pos
}

// Channel is what a message on a route does with a channel (Metadata: Livegate:
// Channel: on the route, which AWS ignores). It happens before the integration, if
// there is one, and needs none.
type Channel struct {
	Action ChannelAction
	// Name is the channel, a selection expression whose variables are
	// ${request.body.…} and ${context.…}. Each must be there, and stands for one
	// segment or a part of one.
	Name string
	Pos  Pos
}

// ChannelAction is one of three.
type ChannelAction string

const (
	Join    ChannelAction = "Join"    // subscribe the sender
	Leave   ChannelAction = "Leave"   // undo it
	Publish ChannelAction = "Publish" // send the message, as it came, to all subscribers
)

// IntegrationType is what kind of back end a route has.
type IntegrationType string

const (
	AWSProxy  IntegrationType = "AWS_PROXY"
	AWS       IntegrationType = "AWS"
	HTTPProxy IntegrationType = "HTTP_PROXY"
	HTTP      IntegrationType = "HTTP"
	Mock      IntegrationType = "MOCK"
)

// Integration is a back end call. URIs keep ${stageVariables.x} unresolved:
// the stage is known only when a message arrives.
type Integration struct {
	LogicalID                   string
	ID                          string
	Type                        IntegrationType
	Method                      string // HTTP method; "" means POST
	URI                         string
	Connection                  string // "" or "INTERNET", "VPC_LINK"
	CredentialsARN              string
	RequestParameters           map[string]string // destination → source expression
	RequestTemplates            map[string]string // selection key → template
	TemplateSelectionExpression string
	PassthroughBehavior         string // "", WHEN_NO_MATCH, WHEN_NO_TEMPLATES, NEVER
	ContentHandling             string // "", CONVERT_TO_BINARY, CONVERT_TO_TEXT
	Timeout                     time.Duration
	Responses                   []*IntegrationResponse
	Pos                         Pos
}

// DefaultIntegrationTimeout is API Gateway's maximum and default.
const DefaultIntegrationTimeout = 29 * time.Second

// IntegrationResponse maps a back end's answer to a frame.
type IntegrationResponse struct {
	LogicalID                   string
	ID                          string
	Key                         string // "$default", "200" or "/2\d\d/"
	Templates                   map[string]string
	Parameters                  map[string]string
	TemplateSelectionExpression string
	ContentHandling             string
	Pos                         Pos
}

// Stage is a named deployment of an API.
type Stage struct {
	LogicalID string
	Name      string
	Variables map[string]string
	// Throttling per stage and per route key; zero values mean the account default.
	Default RouteSettings
	Routes  map[string]RouteSettings
	// AccessLogFormat is the stage's $context format; "" means no access log.
	AccessLogFormat string
	Deployed        bool // a deployment stands behind it (AutoDeploy, DeploymentId or Deployment.StageName)
	Pos             Pos
}

// RouteSettings are the per-route settings of a stage.
type RouteSettings struct {
	Burst        int
	Rate         float64
	DataTrace    bool
	LoggingLevel string
	Metrics      bool
}

// Authorizer is a Lambda REQUEST authorizer.
type Authorizer struct {
	LogicalID      string
	ID             string
	Name           string
	Type           string // "REQUEST"
	URI            string // may hold ${stageVariables.x}
	CredentialsARN string
	IdentitySource []string
	Pos            Pos
}

// Model is a JSON schema that messages can be validated against.
type Model struct {
	LogicalID   string
	ID          string
	Name        string
	ContentType string
	Schema      string
	Pos         Pos
}

// Domain is a custom domain with its mappings.
type Domain struct {
	LogicalID string
	Name      string
	Mappings  []Mapping
	// TrustStore is a file of CA certificates (PEM) that clients must have theirs
	// from (Metadata: Livegate: TrustStore: on the domain); "": no client certificates.
	TrustStore string
	Pos        Pos
}

// Mapping puts a stage under a path of a custom domain. Key "" is the root.
type Mapping struct {
	Key   string
	APIID string
	Stage string
	Pos   Pos
}

// Function is a Lambda function.
type Function struct {
	LogicalID   string
	Name        string // physical name
	ARN         string
	Runtime     string // "nodejs20.x", "python3.12", "provided.al2023", "go1.x"
	Handler     string
	CodeDir     string // absolute; "" when Inline is set
	CodeFile    string // absolute path of a .zip or .jar given as CodeUri
	Inline      string // InlineCode / ZipFile
	Env         map[string]string
	Timeout     time.Duration
	MemoryMB    int
	EphemeralMB int
	Layers      []string // layer ARNs, lowest first, as declared
	Reserved    int      // reserved concurrency; -1 when not set
	Arch        string   // "x86_64" or "arm64"
	Build       Build
	Aliases     map[string]string // alias → version; "live" → "1"
	// OnSuccess and OnFailure are async destinations (ARN); AsyncRetries and
	// AsyncMaxAge bound asynchronous retries.
	OnSuccess, OnFailure string
	AsyncRetries         int // 0–2; -1 when not set (AWS: 2)
	AsyncMaxAge          time.Duration
	Pos                  Pos
	HandlerPos           Pos // where Handler was written, for a missing file
}

// Build is SAM's Metadata.BuildMethod and BuildProperties.
type Build struct {
	Method     string            // "", "esbuild", "go1.x", "makefile", "nodejs20.x", …
	Properties map[string]string // scalar properties by name
	Lists      map[string][]string
}

// Layer is a Lambda layer from a local directory or zip.
type Layer struct {
	LogicalID string
	Name      string
	ARN       string // with version
	Dir       string // absolute
	File      string // absolute path of a zip
	Build     Build
	Pos       Pos
}

// Table is a DynamoDB table.
type Table struct {
	LogicalID  string
	Name       string
	ARN        string
	Attributes map[string]string // attribute name → "S", "N", "B"
	Key        KeySchema
	GSIs       []Index
	LSIs       []Index
	OnDemand   bool
	Read       int64 // provisioned throughput; accepted, never enforced
	Write      int64
	TTL        string // attribute name; "" when off
	StreamView string // "", KEYS_ONLY, NEW_IMAGE, OLD_IMAGE, NEW_AND_OLD_IMAGES
	Protected  bool
	Pos        Pos
}

// KeySchema names the key attributes. Range is "" for hash-only keys.
type KeySchema struct{ Hash, Range string }

// Index is a secondary index.
type Index struct {
	Name       string
	Key        KeySchema
	Projection string   // ALL, KEYS_ONLY, INCLUDE
	NonKey     []string // with INCLUDE
}

// EventSource is an event source mapping or a function event other than the
// WebSocket API: parsed, kept, and executed by later engines.
type EventSource struct {
	LogicalID string
	Kind      string // "SQS", "DynamoDB", "SNS", "Schedule", …
	Function  string
	SourceARN string
	Pos       Pos
}
