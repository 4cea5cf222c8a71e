# Licensed under the Apache License, Version 2.0; see LICENSE.

# The table of rooms in docs/design.md is what the sources do: each file belongs
# to one room, each header in include/ is a room's contract, and a room includes,
# names and calls what its row allows, no more and no less. Calls are what nm
# finds in the objects; names are what a contract declares. And what Makefile.am
# distributes is there.

use strict;
use warnings;

use File::Basename qw(dirname);
use File::Find qw(find);
use FindBin;
use Test::More;

my $top = "$FindBin::Bin/..";
my $build = $ENV{STAPLE_BUILDDIR} // $top;
my $nm = $ENV{NM} // 'nm';

sub slurp
{
    my ($path) = @_;

    open(my $in, '<', $path) or die "$path: $!";
    local $/;
    return scalar <$in>;
}

# A test that names what is wrong, one line each.
sub none
{
    my ($what, @faults) = @_;

    ok(!@faults, $what) or diag join("\n", @faults);
}

# ----- the table -----

# Each room: its name, the patterns of its files, the rooms that it may call,
# and its place from the top.
my (@rooms, %room);

sub read_table
{
    my ($text) = @_;
    my ($table) = $text =~ /^\| room \| files \|.*?\n((?:\|.*\n)+)/m
        or die 'docs/design.md has no table of rooms';

    for my $row (grep { !/^\|[-| ]+$/ } split /\n/, $table) {
        my (undef, $name, $files, undef, $may) = split /\s*\|\s*/, $row;
        my $new = { name => $name, place => scalar @rooms,
                    files => [$files =~ /`([^`]+)`/g],
                    may => { map { $_ => 1 } $may =~ /\w+/g } };

        push @rooms, $new;
        $room{$name} = $new;
    }
}

# A pattern is a file, a folder ("cache/": what lies directly in it), or has a *
# for a part of a name.
sub matches
{
    my ($path, $pattern) = @_;

    $pattern .= '*' if $pattern =~ m{/$};
    $pattern = join '[^/]*', map { quotemeta } split /\*/, $pattern, -1;
    return $path =~ /^$pattern$/;
}

# ----- the sources -----

my (@sources, %room_of, %text, %includes);

sub find_sources
{
    find({ no_chdir => 1, wanted => sub {
        return if $_ eq $top;
        my $path = substr $_, length "$top/";
        $File::Find::prune = 1
            if -d && $path =~ m{^(?:\..*|t|packages|build-aux|mod_staple-.*)$};
        push @sources, $path if /\.[ch]\z/;
    } }, $top);
    @sources = sort @sources;
}

# The text without comments, strings and includes, and what it includes of ours.
sub read_source
{
    my ($path) = @_;
    my $text = slurp("$top/$path") =~ s{/\*.*?\*/}{}gsr;

    $includes{$path} = [$text =~ /^\s*#\s*include\s+"([^"]+)"/gm];
    $text =~ s/^\s*#\s*include.*//gm;
    $text =~ s/"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])+'//g;
    $text{$path} = $text;
}

sub names_in
{
    my ($path) = @_;

    return $text{$path} =~ /\b((?:staple|STAPLE)\w*_\w+)\b/g;
}

# Where the compiler finds an include: beside the file, or in include/.
sub resolve
{
    my ($path, $include) = @_;
    my $beside = dirname($path) eq '.' ? $include
                 : dirname($path) . "/$include";

    1 while $beside =~ s{(?:^|(?<=/))(?!\.\.)[^/]+/\.\./}{};
    return -e "$top/$beside" ? $beside
           : -e "$top/include/$include" ? "include/$include" : undef;
}

sub is_contract { return $_[0] =~ m{^include/} }
sub folder { return $_[0] =~ m{^([^/]+)/} ? $1 : '' }

# What a file includes, and what those include in turn.
sub reached
{
    my ($path, $seen) = @_;

    for my $next (grep { defined } map { resolve($path, $_) }
                      @{ $includes{$path} }) {
        reached($next, $seen) if !$seen->{$next}++;
    }
    return $seen;
}

# Whose a name is: the contract's that has it while none that it includes does.
sub owners_of_names
{
    my (%has, %owner);

    for my $contract (grep { is_contract($_) } @sources) {
        $has{$contract}{$_} = 1 for names_in($contract);
    }
    for my $contract (sort keys %has) {
        my @below = keys %{ reached($contract, {}) };

        for my $name (keys %{ $has{$contract} }) {
            $owner{$name} = $room_of{$contract}
                if !grep { $has{$_}{$name} } @below;
        }
    }
    return \%owner;
}

# ----- the objects -----

sub object_of
{
    my ($source) = @_;
    my ($folder, $name) = $source =~ m{^(.*?)([^/]+)\.c$};

    return grep { -e } glob(
        "'$build'/$folder.libs/{,*_la-}$name.o '$build'/$folder$name.o");
}

# Who defines each symbol, and which each source wants.
my (%defined_in, %wants);

sub read_objects
{
    my %source_of = map { my $source = $_;
                          map { $_ => $source } (object_of($source))[0] // () }
        grep { /\.c$/ } @sources;

    return if !%source_of;
    open(my $out, '-|', $nm, '-A', '-P', sort keys %source_of) or return;
    while (my $line = <$out>) {
        my ($object, $symbol, $type) = $line =~ /^(.*?): (\S+) (\w)/ or next;
        my $source = $source_of{$object} // next;

        $wants{$source} //= [];
        if ($type eq 'U')        { push @{ $wants{$source} }, $symbol }
        elsif ($type =~ /[A-Z]/) { $defined_in{$symbol} = $source }
    }
    close($out);
}

# ----- what is so -----

read_table(slurp("$top/docs/design.md"));
find_sources();
read_source($_) for @sources;
read_objects();
cmp_ok(scalar @rooms, '>', 15, 'rooms were found');
cmp_ok(scalar(grep { /\.c$/ } @sources), '>', 60, 'sources were found');

my (@homeless, @claimed_twice, %is_used);
for my $path (@sources) {
    my @owners = is_contract($path)
        ? grep { $path eq "include/staple_$_->{name}.h" } @rooms
        : grep { grep { matches($path, $_) } @{ $_->{files} } } @rooms;

    push @homeless, $path if !@owners && !is_contract($path);
    push @claimed_twice, $path if @owners > 1;
    $room_of{$path} = $owners[0]{name} if @owners;
    for my $owner (@owners) {
        $is_used{"$owner->{name} $_"} = 1
            for grep { matches($path, $_) } @{ $owner->{files} };
    }
}
none('each file belongs to a room', @homeless);
none('no file belongs to two rooms', @claimed_twice);
none('each header in include/ is the contract of a room',
     grep { is_contract($_) && !$room_of{$_} } @sources);
none('each row has files', map { "$_->{name} has none" }
     grep { !@{ $_->{files} } } @rooms);
for my $one (@rooms) {
    none("$one->{name}: the files of the row are there",
         grep { !$is_used{"$one->{name} $_"} } @{ $one->{files} });
}

# Each use of one room by another, with a place where it is seen.
my %use;
my $owner = owners_of_names();

sub note_use
{
    my ($path, $whose, $how) = @_;

    $use{ $room_of{$path} }{$whose} //= "$path $how"
        if defined $whose && $whose ne $room_of{$path};
}

for my $path (grep { $room_of{$_} } @sources) {
    note_use($path, $owner->{$_}, "names $_") for names_in($path);
    # httpd's macros for logging and configuration want staple_module.
    note_use($path, $room_of{ $defined_in{$_} // '' }, "calls $_")
        for grep { $_ ne 'staple_module' } @{ $wants{$path} // [] };
    # What an inner header has need not bear our name.
    note_use($path, $room_of{$_}, "includes $_")
        for grep { defined && !is_contract($_) }
            map { resolve($path, $_) } @{ $includes{$path} };
}
SKIP: {
    skip "no objects in $build, or no nm that reads them", 1 if !%wants;
    none('each source has an object that was read',
         grep { /\.c$/ && !$wants{$_} } @sources);
}
for my $one (@rooms) {
    my ($name, $may) = @{$one}{qw(name may)};
    my $uses = $use{$name} // {};

    none("$name: uses no room that its row does not allow",
         map { "$_: $uses->{$_}" } grep { !$may->{$_} } sort keys %$uses);
    none("$name: the code needs each room that its row allows",
         grep { !$uses->{$_} } sort keys %$may);
    diag("the row would end: | ", join(', ', grep { $uses->{$_} }
                                       map { $_->{name} } @rooms) || '-', ' |')
        if "@{[sort keys %$uses]}" ne "@{[sort keys %$may]}";
}

# ----- includes -----

# Why a file may not include that; nothing if it may. An inner header is for its
# own room, and for another of the same folder whose row allows it.
sub wrong_include
{
    my ($path, $include) = @_;
    my $target = resolve($path, $include)
        // return 'is neither beside the file nor in include/';
    my ($from, $to) = @room_of{$path, $target};

    return if !$to || $from eq $to;
    return "is an inner header of $to"
        if !is_contract($target) && folder($path) ne folder($target);
    return "is of $to, which the row of $from does not allow"
        if !$room{$from}{may}{$to};
    return;
}

# Those who speak for a header: the header, and for an inner one the files of
# the room that include it.
sub speakers
{
    my ($path) = @_;

    return $path if $path !~ /\.h$/ || is_contract($path);
    return grep { $room_of{$_} eq $room_of{$path}
                  && ($_ eq $path || reached($_, {})->{$path}) }
        grep { $room_of{$_} } @sources;
}

# The includes of contracts of which nothing is named.
sub idle_includes
{
    my ($path) = @_;
    my %named = map { ($owner->{$_} // '') => 1 } map { names_in($_) }
        speakers($path);

    return grep {
        my $target = resolve($path, $_) // '';
        is_contract($target) && ($room_of{$target} // '') ne $room_of{$path}
            && !$named{ $room_of{$target} // '' }
    } @{ $includes{$path} };
}

my (@wrong, @idle);
for my $path (grep { $room_of{$_} } @sources) {
    for my $include (@{ $includes{$path} }) {
        my $why = wrong_include($path, $include);
        push @wrong, "$path: \"$include\" $why" if $why;
    }
    push @idle, map { "$path: \"$_\"" } idle_includes($path);
}
none('each include is one that the table allows', @wrong);
none('of each contract that is included something is named', @idle);

# ----- floors -----

# The first circle that is met on the way down from a room, as a list of names.
sub circle_from
{
    my ($name, @path) = @_;

    for my $n (0 .. $#path) {
        return (@path[$n .. $#path], $name) if $path[$n] eq $name;
    }
    for my $next (sort keys %{ $room{$name}{may} }) {
        my @circle = $room{$next} ? circle_from($next, @path, $name) : ();
        return @circle if @circle;
    }
    return;
}

my @circle;
for my $one (@rooms) {
    @circle = circle_from($one->{name});
    last if @circle;
}
none('no circle', @circle ? join(' -> ', @circle) : ());
for my $one (@rooms) {
    none("$one->{name}: calls only what stands below it in the table",
         grep { !$room{$_} || $room{$_}{place} <= $one->{place} }
             sort keys %{ $one->{may} });
}

# ----- what is distributed -----

my ($dist) = slurp("$top/Makefile.am") =~ /^EXTRA_DIST = ((?:.*\\\n)*.*)$/m;
my @distributed = grep { $_ ne '\\' } split ' ', $dist // '';

ok(@distributed > 20, 'Makefile.am names what is distributed besides');
none('... all of which is there', grep { !-e "$top/$_" } @distributed);

# ----- what is pure -----

# Headers that cannot open anything or ask for the time by themselves.
my $harmless = qr{^(?:apr(?:_\w+)?|openssl/\w+|arpa/inet|assert|ctype|limits
                     |stdatomic|stddef|stdint|stdlib|string|strings|time)\.h$}x;
# And what would do it.
my $impure = qr{^(?:ap_\w+|apr_time_now|time|gettimeofday|clock_gettime
                  |(?:apr_file_|apr_socket_|apr_dir_|apr_thread_|BIO_new_file)\w*
                  |open|open64|fopen|fopen64|read|write|socket|connect
                  |getaddrinfo|getenv)$}x;

for my $path (grep { m{^pure/} } @sources) {
    my @system = slurp("$top/$path") =~ /^\s*#\s*include\s+<([^>]+)>/gm;

    none("$path: includes no header of httpd's and none of I/O",
         grep { !/$harmless/ } @system);
    none("$path: opens nothing and asks no clock",
         grep { /$impure/ } @{ $wants{$path} // [] });
    none("$path: belongs to a room that calls only rooms of pure/",
         map { $_->{name} }
         grep { grep { !m{^pure/} } @{ $_->{files} } }
         grep { defined } map { $room{$_} }
         sort keys %{ $room{ $room_of{$path} // '' }{may} });
}

done_testing();
