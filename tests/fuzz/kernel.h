/* SPDX-License-Identifier: GPL-2.0-only */
/*
 *	As much of a 2.0 kernel as our code sees of one, for a program of the
 *	host. The compiler is made to read this first; the kernel's own headers
 *	are empty files then. Only what goes over the wire has the real layout.
 */
#ifndef FUZZ_KERNEL_H
#define FUZZ_KERNEL_H

#include <stddef.h>
#include <sys/types.h>

/* gcc did so whenever it was asked. */
#define __inline__ __inline __attribute__((always_inline))
#define LINUX_VERSION_CODE 0x020028
#define CONFIG_PROC_FS 1
#define CONFIG_IP_MASQUERADE_IPPORTFW 1
#define CONFIG_IP_MASQUERADE_IPAUTOFW 1

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef int __s32;

#define EPERM	1
#define ENOENT	2
#define ENOMEM	12
#define EACCES	13
#define EFAULT	14
#define EINVAL	22

/* The host, too, is a little-endian one. */
#define ntohs(x) __builtin_bswap16(x)
#define htons(x) __builtin_bswap16(x)
#define ntohl(x) __builtin_bswap32(x)
#define htonl(x) __builtin_bswap32(x)

/* Of the C library no more than the kernel has */
void *memcpy(void *, const void *, size_t);
void *memmove(void *, const void *, size_t);
void *memset(void *, int, size_t);
int memcmp(const void *, const void *, size_t);
size_t strlen(const char *);
int strcmp(const char *, const char *);
int strncmp(const char *, const char *, size_t);
int sprintf(char *, const char *, ...) __attribute__((format(printf, 2, 3)));

/* What the harness adds: says what is wrong, and stops. */
#define must(condition) \
	((condition) ? (void) 0 : wrong(__FILE__, __LINE__, #condition))
void wrong(const char *file, int line, const char *what)
	__attribute__((noreturn));

/* Time */
#define HZ 100
extern unsigned long volatile jiffies;
struct timer_list {
	struct timer_list *next, *prev;
	unsigned long expires, data;
	void (*function)(unsigned long);
};
void init_timer(struct timer_list *);
void add_timer(struct timer_list *);
int del_timer(struct timer_list *);

/* Who may run when */
void start_bh_atomic(void);
void end_bh_atomic(void);
extern unsigned long intr_count;
int suser(void);
extern int need_resched;
void schedule(void);

/* Memory. Pages seem small, so that what grows by pages does so soon. */
#define GFP_ATOMIC 1
#define GFP_KERNEL 3
#define PAGE_SIZE 64UL
#define REAL_PAGE_SIZE 4096UL
#define PAGE_SHIFT 6
void *kmalloc(size_t, int);
void kfree(void *);
void kfree_s(void *, int);
unsigned long __get_free_pages(int, unsigned long, int);
unsigned long get_free_page(int);
#define __get_free_page(priority) __get_free_pages((priority), 0, 0)
void free_pages(unsigned long, unsigned long);
#define free_page(address) free_pages((address), 0)
extern unsigned long high_memory;
#define MAP_NR(address) ((address) >> PAGE_SHIFT)

/* User space */
#define VERIFY_READ 0
#define VERIFY_WRITE 1
int verify_area(int, const void *, unsigned long);
void memcpy_fromfs(void *, const void *, unsigned long);
void memcpy_tofs(void *, const void *, unsigned long);

/* Odds and ends */
int printk(const char *, ...) __attribute__((format(printf, 1, 2)));
void get_random_bytes(void *, int);
unsigned long simple_strtoul(const char *, char **, unsigned);

/* Files */
#define S_IFREG 0100000
#define S_IRUGO 0444
#define S_IWUSR 0200
struct proc_dir_entry;
struct inode {
	union { void *generic_ip; } u;
};
struct file {
	off_t f_pos;
	unsigned short f_flags;
	void *private_data;
};
struct file_operations {
	int (*lseek)(struct inode *, struct file *, off_t, int);
	int (*read)(struct inode *, struct file *, char *, int);
	int (*write)(struct inode *, struct file *, const char *, int);
	int (*readdir)(void);
	int (*select)(void);
	int (*ioctl)(void);
	int (*mmap)(void);
	int (*open)(struct inode *, struct file *);
	void (*release)(struct inode *, struct file *);
};
struct inode_operations {
	struct file_operations *default_file_ops;
	int (*create)(void), (*lookup)(void), (*link)(void), (*unlink)(void),
	    (*symlink)(void), (*mkdir)(void), (*rmdir)(void), (*mknod)(void),
	    (*rename)(void), (*readlink)(void), (*follow_link)(void),
	    (*readpage)(void), (*writepage)(void), (*bmap)(void);
	void (*truncate)(void);
	int (*permission)(void), (*smap)(void);
};
struct proc_dir_entry {
	unsigned short low_ino, namelen;
	const char *name;
	mode_t mode;
	nlink_t nlink;
	uid_t uid;
	gid_t gid;
	unsigned long size;
	struct inode_operations *ops;
	int (*get_info)(char *, char **, off_t, int, int);
	void (*fill_inode)(struct inode *);
	struct proc_dir_entry *next, *parent, *subdir;
	void *data;
};
extern struct proc_dir_entry proc_net;
extern struct inode_operations proc_net_inode_operations;
int proc_register_dynamic(struct proc_dir_entry *, struct proc_dir_entry *);

/* Headers of the wire */
#define IPPROTO_IP	0
#define IPPROTO_ICMP	1
#define IPPROTO_TCP	6
#define IPPROTO_UDP	17
#define IP_DF		0x4000
#define IP_MF		0x2000
#define IP_OFFSET	0x1fff
struct iphdr {
	__u8 ihl:4, version:4, tos;
	__u16 tot_len, id, frag_off;
	__u8 ttl, protocol;
	__u16 check;
	__u32 saddr, daddr;
};
struct tcphdr {
	__u16 source, dest;
	__u32 seq, ack_seq;
	__u16 res1:4, doff:4, fin:1, syn:1, rst:1, psh:1, ack:1, urg:1, res2:2;
	__u16 window, check, urg_ptr;
};
struct udphdr {
	__u16 source, dest, len, check;
};
struct icmphdr {
	__u8 type, code;
	__u16 checksum;
	union {
		struct { __u16 id, sequence; } echo;
		__u32 gateway;
	} un;
};
#define ICMP_ECHOREPLY		0
#define ICMP_DEST_UNREACH	3
#define ICMP_SOURCE_QUENCH	4
#define ICMP_REDIRECT		5
#define ICMP_ECHO		8
#define ICMP_TIME_EXCEEDED	11
#define ICMP_PARAMETERPROB	12
#define ICMP_PORT_UNREACH	3
#define ICMP_FRAG_NEEDED	4

/* Addresses */
#define LOOPBACK(a)	(((a) & htonl(0xff000000)) == htonl(0x7f000000))
#define MULTICAST(a)	(((a) & htonl(0xf0000000)) == htonl(0xe0000000))
#define IS_MYADDR	1
#define IS_BROADCAST	3
#define IS_MULTICAST	5
int ip_chk_addr(unsigned long);

/* Checksums */
unsigned csum_partial(const unsigned char *, int, unsigned);
unsigned short csum_fold(unsigned);
unsigned short csum_tcpudp_magic(unsigned long saddr, unsigned long daddr,
				 unsigned short len, unsigned short protocol,
				 unsigned sum);
unsigned short ip_fast_csum(unsigned char *, unsigned);
unsigned short ip_compute_csum(unsigned char *, int);
void ip_send_check(struct iphdr *);

/* Devices and routes */
#define AF_INET		2
#define IFF_UP		1
#define IFF_BROADCAST	2
#define IFF_LOOPBACK	8
#define IFF_POINTOPOINT	16
struct device {
	char *name;
	struct device *next;
	unsigned short flags, family, mtu;
	unsigned long pa_addr, pa_brdaddr, pa_dstaddr, pa_mask;
	unsigned short type;
};
#define ARPHRD_TUNNEL	768
extern struct device *dev_base;
struct rtable {
	struct device *rt_dev;
	__u32 rt_src, rt_gateway;
	unsigned short rt_flags, rt_mtu;
};
#define RTF_LOCAL 0x8000
struct rtable *ip_rt_route(__u32, int, struct device *);
void ip_rt_put(struct rtable *);
struct device *ip_rt_dev(__u32);

/* Packets */
#define PACKET_HOST		0
#define CHECKSUM_NONE		0
#define FREE_WRITE		0
struct sk_buff {
	struct sk_buff *next, *prev;
	struct sock *sk;
	struct sk_buff *data_skb;
	struct device *dev;
	union {
		struct tcphdr *th;
		struct iphdr *iph;
		struct udphdr *uh;
		unsigned char *raw;
	} h;
	struct iphdr *ip_hdr;
	unsigned long len, csum;
	__u32 saddr, daddr;
	unsigned char pkt_type, ip_summed;
	unsigned char *head, *data, *tail, *end;
	unsigned short protocol;
	__u16 redirport;
};
void kfree_skb(struct sk_buff *, int);
struct sk_buff *skb_copy(struct sk_buff *, int);
int skb_tailroom(struct sk_buff *);
unsigned char *skb_put(struct sk_buff *, int);
unsigned char *skb_pull(struct sk_buff *, int);
void skb_trim(struct sk_buff *, int);

/* Sockets */
enum {
	TCP_ESTABLISHED = 1, TCP_SYN_SENT, TCP_SYN_RECV, TCP_FIN_WAIT1,
	TCP_FIN_WAIT2, TCP_TIME_WAIT, TCP_CLOSE, TCP_CLOSE_WAIT, TCP_LAST_ACK,
	TCP_LISTEN, TCP_CLOSING
};
struct sock {
	unsigned char state;
	__u32 daddr, rcv_saddr;
	struct { __u16 source, dest; } dummy_th;
};
struct proto;
extern struct proto tcp_prot;
struct sock *tcp_v4_lookup(__u32, __u16, __u32, __u16, struct device *);
struct sock *udp_v4_lookup(__u32, __u16, __u32, __u16, struct device *);

/* What the gateway says for itself */
void icmp_send(struct sk_buff *, int, int, unsigned long, struct device *, int);
void tcp_send_reset(unsigned long saddr, unsigned long daddr,
		    struct tcphdr *th, struct proto *prot, void *opt,
		    struct device *dev, int tos, int ttl);
void tcp_send_check(struct tcphdr *, unsigned long saddr, unsigned long daddr,
		    int len, struct sk_buff *);

/* Masquerading */
struct ip_masq_seq {
	__u32 init_seq;
	short delta, previous_delta;
};
struct ip_masq_app;
struct ip_masq {
	struct ip_masq *m_link, *s_link;
	struct timer_list timer;
	__u16 protocol, sport, dport, mport;
	__u32 saddr, daddr, maddr;
	struct ip_masq_seq out_seq, in_seq;
	struct ip_masq_app *app;
	void *app_data;
	unsigned flags;
	struct ip_masq *control;
};
#define IP_MASQ_F_OUT_SEQ	0x01
#define IP_MASQ_F_IN_SEQ	0x02
struct ip_fw_masq {
	int tcp_timeout, tcp_fin_timeout, udp_timeout;
};
extern struct ip_fw_masq *ip_masq_expire;
struct ip_masq *ip_masq_out_get_2(int, __u32, __u16, __u32, __u16);
struct ip_masq *ip_masq_in_get_2(int, __u32, __u16, __u32, __u16);
struct ip_masq_app {
	struct ip_masq_app *next;
	char *name;
	unsigned type;
	int n_attach;
	int (*masq_init_1)(struct ip_masq_app *, struct ip_masq *);
	int (*masq_done_1)(struct ip_masq_app *, struct ip_masq *);
	int (*pkt_out)(struct ip_masq_app *, struct ip_masq *,
		       struct sk_buff **, struct device *);
	int (*pkt_in)(struct ip_masq_app *, struct ip_masq *,
		      struct sk_buff **, struct device *);
};
int ip_masq_app_pkt_out(struct ip_masq *, struct sk_buff **, struct device *);
int ip_masq_app_pkt_in(struct ip_masq *, struct sk_buff **, struct device *);
struct ip_masq_app *ip_masq_app_get(unsigned short, __u16);
struct sk_buff *ip_masq_skb_replace(struct sk_buff *, int, char *, int, char *,
				    int);

#endif
