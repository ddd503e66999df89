package conn

import "testing"

// What holds for plain sockets holds over TLS, on both engines.

func TestRFC6455OverTLS(t *testing.T)         { onEngines(t, testRFC6455) }
func TestUpgradeRequestsOverTLS(t *testing.T) { onEngines(t, testUpgradeRequests) }
func TestHeadBoundsOverTLS(t *testing.T)      { onEngines(t, testHeadBounds) }
func TestHeadByteByByteOverTLS(t *testing.T)  { onEngines(t, testHeadByteByByte) }
func TestRefuseOverTLS(t *testing.T)          { onEngines(t, testRefuse) }
func TestEarlyFramesOverTLS(t *testing.T)     { onEngines(t, testEarlyFramesAreKept) }
func TestCrossingClosesOverTLS(t *testing.T)  { onEngines(t, testCrossingCloses) }
func TestConcurrentSendOverTLS(t *testing.T)  { onEngines(t, testConcurrentSend) }
func TestQueueFullOverTLS(t *testing.T)       { onEngines(t, testQueueFullAndRecovery) }
func TestPingFloodOverTLS(t *testing.T)       { onEngines(t, testPingFlood) }
func TestOnCloseOnceOverTLS(t *testing.T)     { onEngines(t, testOnCloseOnceWhateverEndsIt) }
