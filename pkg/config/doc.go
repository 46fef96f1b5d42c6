// Package config fills plain configuration structs from a TOML file, environment
// variables and flags, and shows what came out.
//
// The structs know nothing of it: their values before Parse are the defaults, a
// `help` tag says what a field means, and the key follows from the names. Field
// WSAddr of the struct embedded with prefix "gateway." is
//
//	gateway.ws_addr            in the file, as ws_addr under [gateway]
//	--gateway.ws-addr          as a flag
//	HALLEY_GATEWAY_WS_ADDR     in the environment
//
// A flag goes before the environment, that before the file, that before the
// default. A key in the file that no field has is an error, so is a value of the
// wrong kind; both name the key. Commands and flags are parsed by kong.
package config
