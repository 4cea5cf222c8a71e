# Licensed under the Apache License, Version 2.0; see LICENSE.

# staplectl fetch brings verified responses without a server: to a file that is
# replaced as a whole or stays, again after failures, for what is due of a
# directory; and it says by its exit status what became of it.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;
use Staple::Work qw(build_dir work_dir);

use POSIX ();

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my $leaf = $ca->leaf(name => 'www.test', ocsp => $responder->url);
my $dir = work_dir() . '/fetched';
mkdir $dir or die "$dir: $!\n";

sub fetch
{
    return run(build_dir() . '/staplectl/staplectl', 'fetch', '--timeout', 5,
               @_);
}

# Why OpenSSL does not believe a response; '' if it does. Whether its signature
# leads to the root is asked without -issuer, because what that names is trusted
# whatever the root is. What it says is found by a SHA-1 CertID or by a SHA-256
# one: a responder that refuses is asked once more with that, and may have
# changed its mind meanwhile.
sub doubt
{
    my ($file, $leaf, $root) = @_;
    my (undef, $signed) = run('openssl', 'ocsp', '-respin', $file, '-CAfile',
                              $root, '-verify_other', $leaf->{issuer});
    my @said = map {
        (run('openssl', 'ocsp', '-respin', $file, "-$_", '-issuer',
             $leaf->{issuer}, '-cert', $leaf->{cert}, '-noverify'))[1]
    } 'sha1', 'sha256';

    return $signed =~ /verify OK/i && grep({ /: good/ && !/times invalid/ } @said)
           ? '' : join "\n", "$file:", $signed, @said;
}

sub is_good
{
    my ($file, $leaf, $root) = @_;
    my $doubt = doubt($file, $leaf, $root // $ca->root);

    diag($doubt) if $doubt;
    return !$doubt;
}

sub files
{
    my ($where) = @_;

    opendir my $handle, $where or die "$where: $!\n";
    return join ' ', sort grep { !/^\./ } readdir $handle;
}

# One certificate.
my $file = "$dir/www.ocsp";
my ($exit, $out) = fetch($leaf->{chain}, '--output', $file);
is($exit, 0, 'a response is fetched');
like($out, qr/^www\.test: written to \Q$file\E, valid until 20/m, '... in words');
ok(is_good($file, $leaf), '... and is what OpenSSL believes');
is(sprintf('%o', (stat $file)[2] & 0777), 644, '... that any server may read');
is(files($dir), 'www.ocsp', '... and nothing else was left');
my $before = read_file($file);

# What cannot be believed replaces nothing.
for my $lie ('badsig', 'expired', 'othercert', 'http 500', 'garbage', 'trylater',
             'unknown') {
    $responder->only($lie);
    ($exit, $out) = fetch($leaf->{chain}, '--output', $file);
    is($exit, 1, "$lie: what is there is valid still");
    like($out, qr/^www\.test: .*\S; \Q$file\E is valid until 20/m,
         '... in words');
    is(read_file($file), $before, '... and stays');
    is((fetch($leaf->{chain}, '--output', "$dir/none"))[0], 2,
       "$lie: nothing is there");
}
is(files($dir), 'www.ocsp', 'and nothing else was left');
$responder->only('revoked');
($exit, $out) = fetch($leaf->{chain}, '--output', "$dir/none");
is($exit, 2, 'revoked');
like($out, qr/says that the certificate is revoked/, '... in words');
ok(!-e "$dir/none", '... and not written');

# A new certificate that its responder does not know yet.
my $ran = "$dir/ran";
$responder->only('unauthorized');
my $count = $responder->count($leaf);
my $pid = fork // die "fork: $!\n";
if (!$pid) {
    my ($status) = fetch($leaf->{chain}, '--output', "$dir/waited", '--wait',
                         '10m', '--post-hook',
                         "printf '%s\\n' \$STAPLE_COUNT \"\$STAPLE_FILES\" >$ran");
    POSIX::_exit($status);
}
ok($responder->wait_for_request($leaf, $count), '--wait: it is asked');
ok(!-e "$dir/waited", '... and nothing is there yet');
$responder->good;
waitpid $pid, 0;
is($?, 0, '... again, until there is a response');
ok(is_good("$dir/waited", $leaf), '... which is good');
is(read_file($ran), "1\n$dir/waited\n", '... and the hook knows where');

# What can be no responder is not asked, and no directive of httpd's allows it.
my $denied = $ca->leaf(name => 'denied.test', ocsp => 'http://127.0.0.1:6000/');
($exit, $out) = fetch($denied->{chain});
is($exit, 2, 'a responder at a port of another protocol');
like($out, qr/^denied\.test: .*port 6000, has a port of another protocol, so a URI/m,
     '... is not asked');
unlike($out, qr/SSLStaplingForceURL|StapleDenyResponder/, '... without more advice');

# What needs none, and what has none although it should.
my $none = $ca->leaf(name => 'none.test');
is((fetch($none->{chain}))[0], 0, 'no responder: none is needed');
my $must = $ca->leaf(name => 'must.test', must_staple => 1);
($exit, $out) = fetch($must->{chain});
is($exit, 2, 'no responder and must-staple: none can be had');
($exit, $out) = fetch($leaf->{cert});
is($exit, 3, 'without the issuer nothing can be asked');
like($out, qr/^\Q$leaf->{cert}\E: .*--issuer/m, '... it is said of which file, and how');
is((fetch($leaf->{cert}, '--issuer', $leaf->{issuer}, '--output', $file))[0], 0,
   '... with --issuer it can');
# Two CAs of one name, as after a change of keys, and no key identifier.
my ($right, $wrong) = map { Staple::CA->new(name => 'Twin') } 1 .. 2;
my $other = Staple::Responder->new($right);
my $twin = $right->leaf(name => 'twin.test', ocsp => $other->url,
                        ext  => "authorityKeyIdentifier=none\n");
($exit, $out) = fetch($twin->{cert}, '--issuer', ($wrong->issuer)[0]);
is($exit, 2, 'an issuer that did not sign the certificate');
like($out, qr/^twin\.test: .*did not sign this certificate.*--issuer$/m,
     '... in words');
unlike($out, qr/needed/, '... not that none is needed');
my $twins = write_file("$dir/twins.pem", join '', map { read_file(($_->issuer)[0]) }
                       $wrong, $right);
is((fetch($twin->{cert}, '--issuer', $twins, '--output', "$dir/twin"))[0], 0,
   'of two issuers of one name the one that signed it is taken');
ok(is_good("$dir/twin", $twin, $right->root), '... and asked about');
like(doubt("$dir/twin", $twin, $_->root), qr/verify error/,
     '... which nobody believes who trusts another CA') for $wrong, $ca;
unlink "$dir/twin";
($exit, $out) = fetch("$dir/gone.pem");
is($exit, 3, 'a file that is not there');
like($out, qr{^\Q$dir/gone.pem\E: cannot be read: No such file}, '... in words');
($exit, $out) = fetch($leaf->{cert}, '--issuer', "$dir/gone.pem");
is($exit, 3, 'an issuer that is not there');
like($out, qr{^\Q$leaf->{cert}: $dir/gone.pem\E: cannot be read: No such file},
     '... in words');
is((fetch())[0], 3, 'no file');
($exit, $out) = fetch('--keep-fresh', "$dir/gone", $leaf->{chain}, '--output',
                      $file);
is($exit, 3, 'a directory that is not there');
like($out, qr{^staplectl: \Q$dir/gone\E cannot be read: No such file}m,
     '... in words');
like($out, qr/^www\.test: \S/m, '... and the rest is done');
($exit, $out) = fetch($leaf->{chain}, '--output', "$dir/no/such/place");
is($exit, 2, 'a place that cannot be written');
like($out, qr/cannot be written: No such file/, '... in words');

# Without a descriptor to wait with, nobody can be asked.
($exit, $out) = run('sh', '-c', 'exec 3<&- 4<&-; ulimit -n 5; exec "$@"', 'sh',
                    build_dir() . '/staplectl/staplectl', 'fetch',
                    $leaf->{chain}, '--output', $file);
is($exit, 1, 'too few descriptors: what is there is valid still');
like($out, qr/^www\.test: nobody can be asked: Too many open files; /m,
     '... in words');

# A directory.
my $sites = "$dir/sites";
my %site;
mkdir $_ or die "$_: $!\n" for $sites, "$sites/deep";
for my $name ('a', 'b', 'deep/c') {
    $site{$name} = $ca->leaf(name => ($name =~ s{.*/}{}r) . '.test',
                             ocsp => $responder->url);
    write_file("$sites/$name.pem", read_file($site{$name}{chain}));
}
write_file("$sites/key.pem", read_file($leaf->{key}));
write_file("$sites/chain.pem", read_file($leaf->{issuer}));
unlink $ran;
my @keep = ('--keep-fresh', $sites, '--post-hook', "echo x >>$ran");
($exit, $out) = fetch(@keep);
is($exit, 0, '--keep-fresh');
ok(is_good("$sites/$_.pem.ocsp", $site{$_}), "... $_") for sort keys %site;
is(files($sites), 'a.pem a.pem.ocsp b.pem b.pem.ocsp chain.pem deep key.pem',
   '... and nothing for keys and chains');
is(read_file($ran), "x\n", '... the hook is run once');
$count = $responder->count;
($exit, $out) = fetch(@keep);
is($exit, 0, 'nothing is due');
is($responder->count, $count, '... so nobody is asked');
is(read_file($ran), "x\n", '... and the hook is not run');
unlink "$sites/b.pem.ocsp";
write_file("$sites/a.pem.ocsp", read_file("$sites/deep/c.pem.ocsp"));
$count = $responder->count;
is((fetch(@keep))[0], 0, 'a response is gone, another one is not its own');
is($responder->count, $count + 2, '... these two are asked for');
ok(is_good("$sites/$_.pem.ocsp", $site{$_}), "... $_") for 'a', 'b';

# Killed while it writes: what is left has a name that other programs that read
# the directory pass over, as HAProxy does.
my $killed = "$dir/killed";
mkdir $killed or die "$killed: $!\n";
write_file("$killed/www.pem", read_file($leaf->{chain}));
run('sh', '-c', 'ulimit -c 0; ulimit -f 0; exec "$@"', 'sh',
    build_dir() . '/staplectl/staplectl', 'fetch', "$killed/www.pem");
opendir my $handle, $killed or die "$killed: $!\n";
my @left = grep { !/^\.\.?$/ } readdir $handle;
is(scalar @left, 2, 'killed while it writes');
is(files($killed), 'www.pem', '... what is left has a dot before its name');

# More than one variable has room for.
my $many = "$dir/many";
mkdir $many or die "$many: $!\n";
write_file("$many/" . ('n' x 200) . "$_.pem", read_file($leaf->{chain}))
    for 1 .. 700;
unlink $ran;
($exit, $out) = fetch('--keep-fresh', $many, '--post-hook',
                      "echo \$STAPLE_COUNT \"\$STAPLE_FILES\" >>$ran");
is($exit, 0, 'many files');
is(read_file($ran), "700 \n", '... the hook is run with their number');

# The hook ignores the signals that whoever ran staplectl ignores, SIGPIPE among
# them. (The C library ignores two of its own in what it runs, 32 and 33.)
SKIP: {
    skip 'needs /proc', 1 if !-r '/proc/self/status';
    my $ask = 'grep SigIgn: /proc/self/status';
    my $ignored = sub { hex(($_[0] =~ /(\w{8})$/)[0]) & 0x7fffffff };
    fetch($leaf->{chain}, '--output', "$dir/signals", '--post-hook', "$ask >$ran");
    is($ignored->(read_file($ran)), $ignored->((run('sh', '-c', $ask))[1]),
       'no signal is ignored for the hook');
    unlink "$dir/signals";
}

# A response that another program has left, and that says revoked.
my $held = "$dir/held";
mkdir $held or die "$held: $!\n";
write_file("$held/www.pem", read_file($leaf->{chain}));
$responder->only('revoked');
$responder->tell('validity -3600 345600');
run('openssl', 'ocsp', '-issuer', $leaf->{issuer}, '-cert', $leaf->{cert}, '-url',
    $responder->url, '-respout', "$held/www.pem.ocsp", '-noverify', '-no_nonce');
ok(-s "$held/www.pem.ocsp", 'a file says revoked');
for my $lie ('revoked', 'http 500') {
    $responder->only($lie);
    $count = $responder->count;
    ($exit, $out) = fetch('--keep-fresh', $held);
    is($exit, 2, "... which is no good response: $lie");
    cmp_ok($responder->count, '>', $count, '... and the responder is asked');
}
# Signed before the revocation, so it is not newer.
$responder->only('validity -86400 345600');
($exit, $out) = fetch('--keep-fresh', $held);
is($exit, 2, '... and an older one that is good does not replace it');
like($out, qr/says revoked, and nothing newer came/, '... in words');
$responder->only('validity');
($exit, $out) = fetch('--keep-fresh', $held);
is($exit, 0, '... but a newer one does') or diag $out;
ok(is_good("$held/www.pem.ocsp", $leaf), '... which is good');

# What somebody may leave in a directory of his own, for root to find: nothing
# waits for it, follows it in a circle, or reads it all.
my $customer = "$sites/deep/customer";
mkdir $_ or die "$_: $!\n" for $customer, "$customer/in";
POSIX::mkfifo("$customer/pipe.pem", 0644) or die "mkfifo: $!\n";
unlink "$sites/b.pem.ocsp";
POSIX::mkfifo("$sites/b.pem.ocsp", 0644) or die "mkfifo: $!\n";
symlink '..', "$customer/in/up$_" or die "link: $!\n" for 1 .. 200;
symlink '/dev/zero', "$customer/zero.pem" or die "link: $!\n";
symlink '../../a.pem', "$customer/link.pem" or die "link: $!\n";
truncate write_file("$customer/large.pem", ''), 1 << 40;
write_file("$customer/$_", read_file($site{a}{chain}))
    for "two\nlines.pem", "bold\x9b1m.pem";
# Whoever writes to a pipe waits until somebody opens it.
my %writer = map {
    my ($pipe, $child) = ($_, fork // die "fork: $!\n");
    if (!$child) {
        open my $to, '>', $pipe or POSIX::_exit(1);
        write_file("$pipe.was-opened", '');
        POSIX::_exit(0);
    }
    ($pipe => $child);
} "$customer/pipe.pem", "$sites/b.pem.ocsp";
($exit, $out) = fetch(@keep);
is($exit, 0, 'a directory with traps') or diag $out;
for my $pipe (sort keys %writer) {
    is(waitpid($writer{$pipe}, POSIX::WNOHANG()), 0, '... a pipe is not opened');
    kill 'KILL', $writer{$pipe};
    waitpid $writer{$pipe}, 0;
    unlink "$pipe.was-opened";
}
unlike($out, qr/[^\n -~]/, '... with names that a terminal would obey');
ok(is_good("$sites/b.pem.ocsp", $site{b}), '... a pipe is replaced');
is(files($customer), join(' ', sort qw(in large.pem link.pem link.pem.ocsp pipe.pem
                                       zero.pem), "two\nlines.pem",
                          "bold\x9b1m.pem", "bold\x9b1m.pem.ocsp"),
   '... and a link to a certificate has a response beside it');
# A file that becomes a pipe and a file again, all the time, so also between a
# look at what it is and its opening.
my $swapped = "$dir/swapped";
mkdir $swapped or die "$swapped: $!\n";
write_file("$dir/swap-file", read_file($leaf->{issuer}));
POSIX::mkfifo("$dir/swap-pipe", 0644) or die "mkfifo: $!\n";
my $swapper = fork // die "fork: $!\n";
if (!$swapper) {
    my $parent = getppid;
    for (my $turn = 0; getppid == $parent; $turn = !$turn) {
        link $turn ? "$dir/swap-pipe" : "$dir/swap-file", "$dir/swap-next"
            or last;
        rename "$dir/swap-next", "$swapped/a.pem" or last;
        sleep 0.001;
    }
    POSIX::_exit(0);
}
wait_for(sub { -e "$swapped/a.pem" });
my @waited;
for (1 .. 200) {
    my ($status) = run('timeout', 60, build_dir() . '/staplectl/staplectl',
                       'fetch', '--keep-fresh', $swapped);
    @waited = $status if $status;
    last if $status;
}
is(waitpid($swapper, POSIX::WNOHANG()), 0, 'it was exchanged throughout');
kill 'KILL', $swapper;
waitpid $swapper, 0;
is_deeply(\@waited, [], 'a pipe that comes in the place of a file is not waited for');

# One that whoever runs this may not read.
SKIP: {
    skip 'only root can become somebody else', 2 if $> != 0;
    my ($user) = Staple::Httpd::account();
    mkdir $_ or die "$_: $!\n" for "$dir/open", "$dir/open/closed";
    chmod 0700, "$dir/open/closed" or die "chmod: $!\n";
    $pid = fork // die "fork: $!\n";
    if (!$pid) {
        my $uid = getpwnam $user;
        open STDOUT, '>', "$dir/said" or POSIX::_exit(126);
        open STDERR, '>&', \*STDOUT;
        $( = $) = $uid;
        $< = $> = $uid;
        exec(build_dir() . '/staplectl/staplectl', 'fetch', '--keep-fresh',
             "$dir/open") or POSIX::_exit(127);
    }
    waitpid $pid, 0;
    is($? >> 8, 3, 'a directory in it that cannot be read');
    like(read_file("$dir/said"), qr{/open/closed cannot be read: Permission},
         '... in words');
}
# Two that would go into one file, as a customer may have it whose file is named
# like that of another.
my $one = "$dir/one";
mkdir $_ or die "$_: $!\n" for $one, map { "$one/$_" } qw(in in/x in/y out);
write_file("$one/in/x/cert.pem", read_file($site{a}{chain}));
write_file("$one/in/y/cert.pem", read_file($site{b}{chain}));
write_file("$one/in/y/other.pem", read_file($leaf->{chain}));
my @one = ('--keep-fresh', "$one/in", '--output', "$one/out");
($exit, $out) = fetch(@one);
is($exit, 3, 'two responses do not go into one file');
like($out, qr{^\Q$one\E/in/$$_[0]/cert\.pem: .*\Q$one\E/in/$$_[1]/cert\.pem.*--output}m,
     "... both are named: $$_[0]") for ['x', 'y'], ['y', 'x'];
is(files("$one/out"), 'other.pem.ocsp', '... and the third one is fetched');
write_file("$one/in/y/cert.pem", read_file($none->{chain}));
is((fetch(@one))[0], 0, 'one that has no response is in nobody\'s way');
is(files("$one/out"), 'cert.pem.ocsp other.pem.ocsp', '... nor is it written');

# The same file twice is one.
($exit, $out) = fetch(("$one/in/x/cert.pem") x 2);
is($exit, 0, 'a file that is named twice');
is($out =~ s/^\S.*\n//r, '', '... is fetched once');
symlink 'in', "$one/link" or die "link: $!\n";
my @spelled = map { "$one/$_" } 'in/x/cert.pem', './in/x/cert.pem',
    'in//x/../x/cert.pem', 'link/x/cert.pem';
for my $where ([], ['--output', "$one/out"]) {
    ($exit, $out) = fetch(@spelled, '--keep-fresh', "$one/link/x/", @$where);
    is($exit, 0, 'a file whose path is spelled in several ways') or diag $out;
    is($out =~ s/^\S.*\n//r, '', "... is fetched once: @$where");
}

done_testing();
