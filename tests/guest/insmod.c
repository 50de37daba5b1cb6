// SPDX-License-Identifier: GPL-2.0-only
/*
 * insmod FILE.o [NAME=NUMBER[,NUMBER]...]... loads a module into a 2.0 kernel,
 * its variables NAME set; rmmod NAME... unloads modules.
 *
 * 2.0 leaves the work of a linker to the program: it reserves memory, tells its
 * own symbols, and takes the finished code. The first word of that memory is
 * the module's use count. A module may use the kernel's symbols, not those of
 * other modules.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

struct kernel_sym {
	unsigned long value;
	char name[60];
};

static const char *me;
static const char *created;	// the module the kernel has, but has not started

static char *file;		// the module, as it is on the disk
static size_t file_size;
static Elf32_Shdr *sections;
static int n_sections;
static Elf32_Sym *symbols;
static int n_symbols;
static char *names;		// of the symbols

static struct kernel_sym *kernel;
static int n_kernel;

static Elf32_Addr base;		// where in the kernel it goes
static char *image;		// what goes there

__attribute__((noreturn)) static void die(const char *format, ...)
{
	va_list args;

	fprintf(stderr, "%s: ", me);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	if (created)
		syscall(__NR_delete_module, created);
	exit(1);
}

static void *allocate(size_t size)
{
	void *p = calloc(1, size);

	if (!p)
		die("out of memory");
	return p;
}

static void *part(Elf32_Off offset, size_t size)
{
	if (offset > file_size || size > file_size - offset)
		die("the file has been cut short");
	return file + offset;
}

static void read_module(const char *path)
{
	Elf32_Ehdr *head;
	struct stat st;
	int fd = open(path, O_RDONLY), i;

	if (fd < 0 || fstat(fd, &st))
		die("%s: %s", path, strerror(errno));
	file_size = st.st_size;
	file = allocate(file_size + 1);
	if (read(fd, file, file_size) != file_size)
		die("%s: cannot be read", path);
	close(fd);

	head = part(0, sizeof(*head));
	if (memcmp(head->e_ident, ELFMAG, SELFMAG) || head->e_type != ET_REL ||
	    head->e_machine != EM_386)
		die("%s is not an i386 ELF object file", path);
	n_sections = head->e_shnum;
	sections = part(head->e_shoff, n_sections * sizeof(*sections));
	for (i = 0; i < n_sections; i++) {
		Elf32_Shdr *s = &sections[i];

		if (s->sh_type != SHT_NOBITS)
			part(s->sh_offset, s->sh_size);
		if (s->sh_type == SHT_SYMTAB) {
			symbols = part(s->sh_offset, s->sh_size);
			n_symbols = s->sh_size / sizeof(*symbols);
			names = part(sections[s->sh_link].sh_offset, 0);
		}
	}
}

// Gives each section, and each variable that has none yet, its place behind the
// use count: sh_addr and st_value become distances from it. Returns the size.
static size_t lay_out(void)
{
	size_t end = sizeof(long);
	int i;

	for (i = 0; i < n_sections; i++) {
		Elf32_Shdr *s = &sections[i];

		if (!(s->sh_flags & SHF_ALLOC))
			continue;
		if (s->sh_addralign > 1)
			end += -end & (s->sh_addralign - 1);
		s->sh_addr = end;
		end += s->sh_size;
	}
	for (i = 1; i < n_symbols; i++) {
		Elf32_Sym *s = &symbols[i];

		if (s->st_shndx != SHN_COMMON)
			continue;
		end += -end & (s->st_value - 1);	// the alignment
		s->st_value = end;
		end += s->st_size;
	}
	return end;
}

static Elf32_Sym *find(const char *name)
{
	int i;

	for (i = 1; i < n_symbols; i++)
		if (symbols[i].st_shndx != SHN_UNDEF && !strcmp(names + symbols[i].st_name, name))
			return &symbols[i];
	return NULL;
}

// Where in the image a symbol of the module is.
static size_t place(const Elf32_Sym *s)
{
	return s->st_value + (s->st_shndx < n_sections ? sections[s->st_shndx].sh_addr : 0);
}

static void ask_kernel(void)
{
	struct kernel_sym *s;
	int n = syscall(__NR_get_kernel_syms, NULL), i, of_module = 0;

	if (n < 0)
		die("the kernel takes no modules: %s", strerror(errno));
	s = kernel = allocate(n * sizeof(*s));
	n = syscall(__NR_get_kernel_syms, s);
	// Each module's symbols follow its name, "#name"; the kernel's is empty.
	for (i = 0; i < n; i++) {
		if (s[i].name[0] == '#')
			of_module = s[i].name[1];
		else if (!of_module)
			kernel[n_kernel++] = s[i];
	}
}

// Where in the kernel's memory a symbol is. Exits if it is nowhere.
static Elf32_Addr resolve(const Elf32_Sym *s)
{
	const char *name = names + s->st_name;
	int i;

	if (s->st_shndx == SHN_ABS)
		return s->st_value;
	if (s->st_shndx != SHN_UNDEF)
		return base + place(s);
	if (!strcmp(name, "mod_use_count_"))
		return base;
	for (i = 0; i < n_kernel; i++)
		if (!strcmp(kernel[i].name, name))
			return kernel[i].value;
	die("the kernel offers no %s", name);
}

static void relocate(const Elf32_Shdr *table)
{
	const Elf32_Shdr *target = &sections[table->sh_info];
	const Elf32_Rel *rel = part(table->sh_offset, table->sh_size);
	int n = table->sh_size / sizeof(*rel);

	if (!(target->sh_flags & SHF_ALLOC))
		return;
	for (; n; n--, rel++) {
		size_t at = target->sh_addr + rel->r_offset;
		Elf32_Addr *word = (Elf32_Addr *) (image + at);

		if (rel->r_offset >= target->sh_size ||
		    target->sh_size - rel->r_offset < sizeof(*word))
			die("a relocation lies outside of its section");
		*word += resolve(&symbols[ELF32_R_SYM(rel->r_info)]);
		if (ELF32_R_TYPE(rel->r_info) == R_386_PC32)
			*word -= base + at;
		else if (ELF32_R_TYPE(rel->r_info) != R_386_32)
			die("a relocation of type %d is not what a module should have",
			    ELF32_R_TYPE(rel->r_info));
	}
}

// NAME=NUMBER[,NUMBER]...
static void set(char *setting)
{
	char *text = strchr(setting, '=');
	Elf32_Sym *s;
	int *value, *end;

	if (!text)
		die("'%s' is not like NAME=NUMBER,NUMBER", setting);
	*text = 0;
	s = find(setting);
	if (!s || ELF32_ST_TYPE(s->st_info) != STT_OBJECT)
		die("the module has no variable %s", setting);
	value = (int *) (image + place(s));
	end = value + s->st_size / sizeof(*value);
	do {
		char *number = text + 1;

		if (value == end)
			die("%s has room for %d numbers", setting, (int) (s->st_size / sizeof(*value)));
		*value++ = strtol(number, &text, 0);
		if (text == number || (*text && *text != ','))
			die("'%s' is not a number for %s", number, setting);
	} while (*text);
}

static void check_version(const char *path)
{
	Elf32_Sym *s = find("kernel_version");
	struct utsname here;

	if (!s)
		die("%s is not a module: it has no kernel_version", path);
	uname(&here);
	if (strcmp(image + place(s), here.release))
		die("%s was made for Linux %s, this is %s", path, image + place(s), here.release);
}

static void insmod(const char *path, char **settings)
{
	Elf32_Sym *init, *cleanup;
	struct {
		Elf32_Addr init, cleanup;
	} routines;
	char *name;
	size_t size;
	int i;

	read_module(path);
	init = find("init_module");
	cleanup = find("cleanup_module");
	if (!init || !cleanup)
		die("%s is not a module: it has no init_module and cleanup_module", path);
	size = lay_out();
	image = allocate(size);
	for (i = 0; i < n_sections; i++)
		if (sections[i].sh_flags & SHF_ALLOC && sections[i].sh_type != SHT_NOBITS)
			memcpy(image + sections[i].sh_addr, file + sections[i].sh_offset,
			       sections[i].sh_size);
	check_version(path);
	for (; *settings; settings++)
		set(*settings);

	name = strdup(basename((char *) path));
	name[strcspn(name, ".")] = 0;
	ask_kernel();
	base = syscall(__NR_create_module, name, size);
	if (base == -1)
		die("%s: %s", name, strerror(errno));
	created = name;
	for (i = 0; i < n_sections; i++)
		if (sections[i].sh_type == SHT_REL)
			relocate(&sections[i]);
	routines.init = base + place(init);
	routines.cleanup = base + place(cleanup);
	if (syscall(__NR_init_module, name, image + sizeof(long), size - sizeof(long), &routines, NULL))
		die("%s: %s", name, strerror(errno));
}

int main(int argc, char **argv)
{
	me = basename(argv[0]);
	if (argc < 2)
		die("of which module?");
	if (!strcmp(me, "insmod")) {
		insmod(argv[1], argv + 2);
		return 0;
	}
	while (*++argv)
		if (syscall(__NR_delete_module, *argv))
			die("%s: %s", *argv, strerror(errno));
	return 0;
}
