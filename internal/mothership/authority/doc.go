// Package authority holds the installation's own keys and issues what they vouch
// for.
//
//	root key (P-256, 20 years)  signs the bundle and the CA; its certificate is in every token
//	  └─ CA (P-256, 20 years)   signs pool, worker and broker certificates
//	job key (Ed25519)           signs job headers; endorsed by the bundle
//	symmetric keys              sessions (JWT), bearers, object URLs
//
// All are made once, at the first start, and kept wrapped in the installation
// table. A certificate's subject comes from us alone, never from a request.
package authority
