/* SPDX-License-Identifier: GPL-2.0-only */
/*
 *	IP port forwarding: connections to a port of the gateway are carried
 *	on to a host of the masqueraded network.
 *
 *	The first part is the interface to user space; kernel and tool share
 *	this file.
 */
#ifndef _LINUX_IP_PORTFW_H
#define _LINUX_IP_PORTFW_H

/*
 *	setsockopt(fd, IPPROTO_IP, option, &edits, sizeof(edits)) on any
 *	socket of AF_INET, for root. They follow ipfwadm's commands (append, delete,
 *	flush) with 6 in the place of the chain.
 *
 *	ADD	makes a rule, or gives the one that the local address and
 *		port have already another destination, in one step
 *	DEL	takes the rule of a local address and port away
 *	FLUSH	takes all of them away; all fields are ignored
 *
 *	Errors: EPERM not root, EINVAL wrong length or field, EFAULT bad
 *	pointer, ENOENT no such rule (DEL), ENOMEM (ADD). Nothing has changed
 *	then.
 */
#define IP_PORTFW_ADD	(65 | 6 << 8)
#define IP_PORTFW_DEL	(66 | 6 << 8)
#define IP_PORTFW_FLUSH	(67 | 6 << 8)

/*
 *	Addresses and ports in host byte order.
 */
struct ip_portfw_edits {
	unsigned short	protocol;	/* IPPROTO_TCP or IPPROTO_UDP	*/
	unsigned int	laddr;		/* local; 0: any of the gateway	*/
	unsigned int	raddr;		/* the host inside		*/
	unsigned short	lport;
	unsigned short	rport;
	unsigned short	dummy;		/* ignored			*/
};

/*
 *	A local port can't be one of those that masquerading gives out.
 */
#define IP_PORTFW_MASQ_FIRST	61000
#define IP_PORTFW_MASQ_LAST	65096

/*
 *	/proc/net/ip_portfw is the table for people: a heading and a line a
 *	rule, oldest first, each padded to IP_PORTFW_LINE bytes with its
 *	newline.
 */
#define IP_PORTFW_HEADING	"Prot Local Addr/Port > Remote Addr/Port"
#define IP_PORTFW_LINE		64

#ifdef __KERNEL__

#include <linux/config.h>

/*
 *	What the rest of the kernel calls. Without the option nothing of it
 *	remains, and before the first rule no more than a test for NULL.
 */
#ifdef CONFIG_IP_MASQUERADE_IPPORTFW

#include <linux/types.h>
#include <linux/skbuff.h>
#include <linux/in.h>
#include <linux/ip.h>

struct device;

extern unsigned char *ip_portfw_active;
extern unsigned short ip_portfw_out_mask;

/*
 *	So many ports are told apart before anything else is looked at.
 */
#define IP_PORTFW_PORTS		4096

/*
 *	Can the packet, with its source (0) or destination port (1), be one of
 *	ours? Where it is too short to have one, what lies behind it decides,
 *	and whoever looks closer finds out.
 */
extern __inline__ int ip_portfw_concerned(const unsigned char *active,
					  const struct sk_buff *skb, int which,
					  unsigned mask)
{
	const struct iphdr *iph = skb->h.iph;
	__u16 port = ((const __u16 *) ((const __u32 *) iph + iph->ihl))[which];

	return active[ntohs(port) & mask] ||
		iph->protocol == IPPROTO_ICMP;
}

/*
 *	A packet for one of the gateway's addresses, come in on dev (bottom
 *	half). Returns 1 if it was rewritten and is to be forwarded, 0 if it is
 *	for the gateway or for masquerading, -1 if it is to be dropped; *skb_p
 *	may be another one then, unless 0 was returned. ip_fw_demasquerade()
 *	returns the same, and does so by this macro, lest without the option it
 *	be compiled otherwise.
 */
extern int ip_portfw_do_in(struct sk_buff **skb_p, struct device *dev);
#define ip_portfw_in_or_return(skb_p, dev)				\
	do {								\
		unsigned char *active = ip_portfw_active;		\
		int ret = active &&					\
			ip_portfw_concerned(active, *(skb_p), 1,	\
					    IP_PORTFW_PORTS - 1) ?	\
			ip_portfw_do_in(skb_p, dev) : 0;		\
		if (ret)						\
			return ret;					\
	} while (0)

/*
 *	A packet that is to be masqueraded, about to go out by dev. Returns 1
 *	if it belongs to a forwarded connection and has been rewritten (*skb_p
 *	may be another one), 0 if it is not ours, -1 if it is to be dropped.
 *	ip_fw_masquerade() then returns 0 (it is masqueraded) or -1.
 */
extern int ip_portfw_do_out(struct sk_buff **skb_p, struct device *dev);
#define ip_portfw_out_or_return(skb_p, dev)				\
	do {								\
		unsigned char *active = ip_portfw_active;		\
		int ret = active &&					\
			ip_portfw_concerned(active, *(skb_p), 0,	\
					    ip_portfw_out_mask) ?	\
			ip_portfw_do_out(skb_p, dev) : 0;		\
		if (ret)						\
			return ret < 0 ? -1 : 0;			\
	} while (0)

/*
 *	The gateway is about to send an ICMP message of this type and code
 *	about the packet. If we have rewritten it, it gets the looks back that its sender
 *	knows. Returns 1 if the message must not be sent.
 */
extern int ip_portfw_do_icmp_send(struct sk_buff *skb, int type, int code);
#define ip_portfw_icmp_send_or_return(skb, type, code)			\
	do {								\
		if (ip_portfw_active &&					\
		    ip_portfw_do_icmp_send(skb, type, code))		\
			return;						\
	} while (0)

/*
 *	setsockopt (process context). Returns 0 or a negative errno.
 */
extern int ip_portfw_ctl(int option, void *user, int len);
#define ip_portfw_ctl_or_return(option, user, len)			\
	do {								\
		if ((option) >= IP_PORTFW_ADD &&			\
		    (option) <= IP_PORTFW_FLUSH)			\
			return ip_portfw_ctl(option, user, len);	\
	} while (0)

/*
 *	Adds our connections to /proc/net/ip_masquerade (process context):
 *	*len bytes of buffer are filled, up to position *pos of the file;
 *	length bytes from offset are wanted.
 */
extern void ip_portfw_procinfo(char *buffer, int *len, off_t *pos,
			       off_t offset, int length);

/*
 *	Called once at boot.
 */
extern void ip_portfw_init(void);

/*
 *	Between our own files: what follows an FTP server's control
 *	connections, and how it lets a data connection begin (bottom half). One
 *	from any port of the client to port at the gateway leads to the same
 *	port inside, unless something else is served there, for which the first
 *	returns 0; or the server may connect to that port of the client. The
 *	port is in network byte order.
 */
struct ip_masq;
struct ip_masq_app;

extern struct ip_masq_app ip_portfw_ftp;
extern int ip_portfw_expect_in(struct ip_masq *control, __u16 port);
extern void ip_portfw_expect_out(struct ip_masq *control, __u16 port);

#else

#define ip_portfw_in_or_return(skb_p, dev)	do { } while (0)
#define ip_portfw_out_or_return(skb_p, dev)	do { } while (0)
#define ip_portfw_icmp_send_or_return(skb, type, code)	do { } while (0)
#define ip_portfw_ctl_or_return(option, user, len)	do { } while (0)
#define ip_portfw_procinfo(buffer, len, pos, offset, length)	do { } while (0)
#define ip_portfw_init()				do { } while (0)

#endif /* CONFIG_IP_MASQUERADE_IPPORTFW */
#endif /* __KERNEL__ */
#endif /* _LINUX_IP_PORTFW_H */
