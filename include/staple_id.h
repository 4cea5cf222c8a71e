/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_ID_H
#define STAPLE_ID_H

/*
 * How long a certificate's id is: in the registry, in the ring, in the share's
 * keys and in messages, which hand it to each other.
 *
 * An id is what the TLS module calls a certificate, padded with 0. mod_ssl's is
 * the SHA-1 digest of the certificate.
 */

#ifdef __cplusplus
extern "C" {
#endif

/** Bytes of an id. */
#define STAPLE_ID_LEN 32

/** Bytes of it that mod_ssl fills. */
#define STAPLE_ID_SSL_LEN 20

#ifdef __cplusplus
}
#endif

#endif /* STAPLE_ID_H */
