// Package auth decides who a client is and what names it may carry.
//
// It reads the token of the first packet and answers with an Identity: the app
// it belongs to, its user id (mid), its connection key, its first room, its
// platform, the operations it accepts, and whether it wants hints to reconnect
// (op 6) when its gateway is emptied. Gateway and logic share the package,
// and so do all rules about names (CheckKey, CheckRoom, CheckApp): names enter
// the system here and at the REST API, and nowhere else. No name holds a control
// character, so that the unit separator which cluster.Scope puts between app and
// name can stand in neither.
//
// The only mode is "open": goim's token, a JSON object that is believed as it
// stands. Whoever reaches a listener can then be anybody, so open mode is
// refused at start on an address that others can reach (Config.CheckListeners),
// unless the operator forces it.
//
// The package knows nothing of connections, registries or HTTP, keeps no state
// and imports nothing of ours.
package auth
