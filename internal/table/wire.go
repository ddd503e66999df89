package table

import "encoding/json"

// The control plane's shapes, as the DynamoDB API spells them (API reference,
// data types). They are decoded and encoded by encoding/json: nothing here is on
// the path of an item.

// AttributeDefinition is a key attribute's type: "S", "N" or "B".
type AttributeDefinition struct {
	AttributeName string
	AttributeType string
}

// KeySchemaElement is one key attribute; KeyType is "HASH" or "RANGE".
type KeySchemaElement struct {
	AttributeName string
	KeyType       string
}

// Projection says which attributes an index shows.
type Projection struct {
	ProjectionType   string   `json:",omitempty"` // ALL, KEYS_ONLY, INCLUDE
	NonKeyAttributes []string `json:",omitempty"`
}

// Throughput is provisioned capacity: kept and shown, never enforced.
type Throughput struct {
	ReadCapacityUnits  *int64
	WriteCapacityUnits *int64
}

// SecondaryIndex is a GSI or LSI in CreateTable.
type SecondaryIndex struct {
	IndexName             string
	KeySchema             []KeySchemaElement
	Projection            *Projection
	ProvisionedThroughput *Throughput     `json:",omitempty"`
	OnDemandThroughput    json.RawMessage `json:",omitempty"`
}

// StreamSpecification turns a table's stream on.
type StreamSpecification struct {
	StreamEnabled  *bool
	StreamViewType string `json:",omitempty"`
}

// Tag is a label of a table.
type Tag struct{ Key, Value string }

// SSESpecification asks for encryption at rest: kept and shown.
type SSESpecification struct {
	Enabled        *bool
	SSEType        string
	KMSMasterKeyId string
}

// CreateTableInput is the CreateTable request. Pointers tell absent from empty.
type CreateTableInput struct {
	TableName                 *string
	AttributeDefinitions      []AttributeDefinition
	KeySchema                 []KeySchemaElement
	LocalSecondaryIndexes     *[]SecondaryIndex
	GlobalSecondaryIndexes    *[]SecondaryIndex
	BillingMode               string
	ProvisionedThroughput     *Throughput
	OnDemandThroughput        json.RawMessage
	StreamSpecification       *StreamSpecification
	SSESpecification          *SSESpecification
	Tags                      []Tag
	TableClass                string
	DeletionProtectionEnabled *bool
}

// UpdateTableInput is the UpdateTable request.
type UpdateTableInput struct {
	TableName                   *string
	AttributeDefinitions        []AttributeDefinition
	BillingMode                 string
	ProvisionedThroughput       *Throughput
	OnDemandThroughput          json.RawMessage
	GlobalSecondaryIndexUpdates *[]IndexUpdate
	StreamSpecification         *StreamSpecification
	SSESpecification            *SSESpecification
	TableClass                  string
	DeletionProtectionEnabled   *bool
	ReplicaUpdates              json.RawMessage
}

// IndexUpdate adds, changes or removes a GSI.
type IndexUpdate struct {
	Create *SecondaryIndex
	Update *SecondaryIndex
	Delete *struct{ IndexName string }
}

// ThroughputDescription is a Throughput with its history, which is empty here.
type ThroughputDescription struct {
	ReadCapacityUnits      int64
	WriteCapacityUnits     int64
	NumberOfDecreasesToday int64
}

// IndexDescription describes one index.
type IndexDescription struct {
	IndexName             string
	KeySchema             []KeySchemaElement
	Projection            Projection
	IndexStatus           string                 `json:",omitempty"` // GSI only
	ProvisionedThroughput *ThroughputDescription `json:",omitempty"` // GSI only
	OnDemandThroughput    json.RawMessage        `json:",omitempty"`
	IndexSizeBytes        int64
	ItemCount             int64
	IndexArn              string
}

// BillingSummary is present unless the table has always been provisioned.
type BillingSummary struct {
	BillingMode                       string
	LastUpdateToPayPerRequestDateTime float64 `json:",omitempty"`
}

// SSEDescription describes encryption at rest.
type SSEDescription struct {
	Status          string
	SSEType         string
	KMSMasterKeyArn string `json:",omitempty"`
}

// ClassSummary is the table class.
type ClassSummary struct{ TableClass string }

// Description is a table as DescribeTable shows it. Times are Unix seconds.
type Description struct {
	TableName                 string
	TableId                   string
	TableArn                  string
	TableStatus               string
	CreationDateTime          float64
	AttributeDefinitions      []AttributeDefinition
	KeySchema                 []KeySchemaElement
	ItemCount                 int64
	TableSizeBytes            int64
	ProvisionedThroughput     ThroughputDescription
	BillingModeSummary        *BillingSummary      `json:",omitempty"`
	OnDemandThroughput        json.RawMessage      `json:",omitempty"`
	LocalSecondaryIndexes     []IndexDescription   `json:",omitempty"`
	GlobalSecondaryIndexes    []IndexDescription   `json:",omitempty"`
	StreamSpecification       *StreamSpecification `json:",omitempty"`
	LatestStreamLabel         string               `json:",omitempty"`
	LatestStreamArn           string               `json:",omitempty"`
	SSEDescription            *SSEDescription      `json:",omitempty"`
	TableClassSummary         *ClassSummary        `json:",omitempty"`
	DeletionProtectionEnabled bool
}
