/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_ADDRESS_H
#define STAPLE_ADDRESS_H

/*
 * An IP address as a value: 16 bytes in network order. IPv4 is kept as IPv4
 * mapped into IPv6 (RFC 4291 2.5.5.2), so there is one kind of address. Pure;
 * any thread may call any function.
 */

#include <apr_pools.h>

#ifdef __cplusplus
extern "C" {
#endif

#define STAPLE_ADDRESS_LEN 16
#define STAPLE_ADDRESS_BITS 128
#define STAPLE_ADDRESS_IPV4_BITS 32

/**
 * Read an address: dotted decimal with four numbers, or IPv6 without brackets
 * and without a zone.
 * @return how many bits it was written with, STAPLE_ADDRESS_IPV4_BITS or
 *         STAPLE_ADDRESS_BITS; 0: it is no address
 */
int staple_address_read(unsigned char bytes[STAPLE_ADDRESS_LEN],
                        const char *text);

/** "192.0.2.1" where the address is IPv4, else "2001:db8::1"; lives in p. */
const char *staple_address_text(const unsigned char bytes[STAPLE_ADDRESS_LEN],
                                apr_pool_t *p);

/** Whether it is an IPv4 address. */
int staple_address_is_ipv4(const unsigned char bytes[STAPLE_ADDRESS_LEN]);

#ifdef __cplusplus
}
#endif

#endif /* STAPLE_ADDRESS_H */
