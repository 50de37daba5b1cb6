/* SPDX-License-Identifier: GPL-2.0-only */
/*
 *	The code itself, unchanged, and what can only be seen from within it.
 */
#include "fuzz.h"
#include PORTFW

/*
 *	Every entry is in its chain, and no chain is beyond the last. look, if
 *	there is one, is called for each of them.
 */
static void audit_table(const struct table *t, void (*look)(struct entry *))
{
	unsigned i, page, n = 0;
	struct entry *e;

	must(t->chains >= CHAINS_A_PAGE);
	must(t->chains <= t->mask + 1 && t->chains > t->mask >> 1);
	for (i = 0; i < t->chains; i++)
		for (e = t->page[i / CHAINS_A_PAGE][i % CHAINS_A_PAGE];
		     e; e = e->next) {
			must(table_chain(t, e->hash) ==
			     &t->page[i / CHAINS_A_PAGE][i % CHAINS_A_PAGE]);
			n++;
			if (look)
				look(e);
		}
	must(n == t->entries);
	for (page = (i + CHAINS_A_PAGE - 1) / CHAINS_A_PAGE;
	     page < TABLE_PAGES; page++)
		must(t->page[page] == NULL);
}

static unsigned audit_fifo(const struct fifo *fifo)
{
	struct ip_portfw_conn *c, *const *last = &fifo->first;
	unsigned n = 0;

	for (c = fifo->first; c; c = c->fifo_next) {
		must(!(c->flags & CONN_TWIN));
		must(fifo_of(c) == fifo && c->fifo_pprev == last);
		last = &c->fifo_next;
		n++;
	}
	must(fifo->last == last && fifo->count == n);
	return n;
}

/*
 *	Packets of two connections in one chain are told apart, whichever way
 *	they go. Which of two equal ones that are expected comes is all one.
 */
static void audit_pair(const struct ip_portfw_conn *a,
		       const struct ip_portfw_conn *b)
{
	const struct ip_masq *m = &a->ms, *n = &b->ms;

	if (m->protocol != n->protocol ||
	    m->daddr != n->daddr || m->dport != n->dport ||
	    a->flags & b->flags & CONN_EXPECTED)
		return;
	must(m->maddr != n->maddr || m->mport != n->mport);
	if (!((a->flags | b->flags) & CONN_REFLECTED))
		must(m->saddr != n->saddr || m->sport != n->sport);
}

static void audit_rules(void)
{
	struct ip_portfw_rule *r, **last = &rules;
	unsigned n = 0;
	unsigned long serial = rules ? rules->serial - 1 : 0;
	int any = 0;

	for (r = rules; r; r = r->next) {
		must(r->from.hash == hash(r->protocol, r->laddr, r->lport));
		must(r->to.hash == hash(r->protocol, r->raddr, r->rport));
		must(r->pprev == last);
		must((long) (r->serial - serial) > 0);
		serial = r->serial;
		last = &r->next;
		any += r->laddr == 0;
		n++;
	}
	must(rules_end == last && rules_any == any);
	must(n == rules_from.entries && n == rules_to.entries);
	if (n) {
		audit_table(&rules_from, NULL);
		audit_table(&rules_to, NULL);
	}
}

/*
 *	What the connections found make up.
 */
static struct {
	unsigned queued, special, waiting, gone, children, parents;
} sum;

static void audit_conn(struct entry *e)
{
	struct ip_portfw_conn *c = (struct ip_portfw_conn *) e;
	struct ip_masq *ms = &c->ms;

	must(e == entry_of(c) && e->hash == hash(ms->protocol, ms->daddr, ms->dport));
	while ((e = e->next) != NULL)
		audit_pair(c, (struct ip_portfw_conn *) e);
	sum.queued += c->fifo_pprev != NULL;
	must(c->fifo_pprev || !(c->flags & CONN_YOUNG));
	sum.special += (c->flags & (CONN_TWIN | CONN_SELF)) != 0;
	sum.waiting += (c->flags & CONN_EXPECTED) != 0;
	must(!(c->flags & CONN_GONE));
	if (c->twin)
		must(c->twin->twin == c);
	if (c->flags & CONN_TWIN) {
		must(c->twin && !c->children);
		must(!timer_pending(&ms->timer));
		return;
	}
	must(timer_pending(&ms->timer));
	must((long) (ms->timer.expires - c->expires) <= 0);
	sum.parents += c->children;
	if (c->flags & CONN_HELPED) {
		if (expected_by(c))
			must(control_of(expected_by(c)) == c);
		return;
	}
	if (!control_of(c))
		return;
	must(control_of(c)->flags & CONN_HELPED);
	sum.children++;
	if (control_of(c)->flags & CONN_GONE) {
		/* out of sight: believed to have the children that say so */
		sum.gone++;
		sum.parents++;
	}
}

struct inside audit(void)
{
	struct inside now = { conns, half_open.count, CONNS_MAX, HALF_OPEN_MAX };

	audit_rules();
	if (!ip_portfw_active) {
		must(!rules && !conns && !reflected && !expected);
		must(!half_open.first && !answered_udp.first);
		must(!last_in && !index.entries);
		return now;
	}
	memset(&sum, 0, sizeof(sum));
	audit_table(&index, audit_conn);
	must(sum.parents == sum.children);
	must(sum.queued == audit_fifo(&half_open) + audit_fifo(&answered_udp));
	must(sum.special == reflected && sum.waiting == expected);
	must(conns >= index.entries && conns <= index.entries + sum.gone &&
	     (conns > index.entries) == (sum.gone > 0));
	return now;
}

unsigned connections(void)
{
	return conns;
}
