/* SPDX-License-Identifier: GPL-2.0-only */
/* An ICMP message by its BSD names, for ping and traceroute; it follows what
   dietlibc's <netinet/ip_icmp.h> has. */
#ifndef _GUEST_ICMP_H
#define _GUEST_ICMP_H

#include <netinet/in_systm.h>
#include <netinet/ip.h>

struct icmp {
	uint8_t icmp_type;
	uint8_t icmp_code;
	uint16_t icmp_cksum;
	union {
		struct {
			uint16_t id, seq;
		} echo;
		struct {
			uint16_t unused, mtu;
		} frag;
	} icmp_hun;
	union {
		struct ip header;
		uint8_t data[1];
	} icmp_dun;
};

#define icmp_id icmp_hun.echo.id
#define icmp_seq icmp_hun.echo.seq
#define icmp_nextmtu icmp_hun.frag.mtu
#define icmp_ip icmp_dun.header
#define icmp_data icmp_dun.data

#define ICMP_MINLEN 8

#define ICMP_UNREACH			ICMP_DEST_UNREACH
#define ICMP_UNREACH_NET		ICMP_NET_UNREACH
#define ICMP_UNREACH_HOST		ICMP_HOST_UNREACH
#define ICMP_UNREACH_PROTOCOL		ICMP_PROT_UNREACH
#define ICMP_UNREACH_PORT		ICMP_PORT_UNREACH
#define ICMP_UNREACH_NEEDFRAG		ICMP_FRAG_NEEDED
#define ICMP_UNREACH_SRCFAIL		ICMP_SR_FAILED
#define ICMP_UNREACH_NET_UNKNOWN	ICMP_NET_UNKNOWN
#define ICMP_UNREACH_HOST_UNKNOWN	ICMP_HOST_UNKNOWN
#define ICMP_UNREACH_ISOLATED		ICMP_HOST_ISOLATED
#define ICMP_UNREACH_NET_PROHIB		ICMP_NET_ANO
#define ICMP_UNREACH_HOST_PROHIB	ICMP_HOST_ANO
#define ICMP_UNREACH_TOSNET		ICMP_NET_UNR_TOS
#define ICMP_UNREACH_TOSHOST		ICMP_HOST_UNR_TOS
#define ICMP_UNREACH_FILTER_PROHIB	ICMP_PKT_FILTERED
#define ICMP_UNREACH_HOST_PRECEDENCE	ICMP_PREC_VIOLATION
#define ICMP_UNREACH_PRECEDENCE_CUTOFF	ICMP_PREC_CUTOFF
#define ICMP_TIMXCEED			ICMP_TIME_EXCEEDED
#define ICMP_TIMXCEED_INTRANS		ICMP_EXC_TTL

#endif
