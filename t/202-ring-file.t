# Licensed under the Apache License, Version 2.0; see LICENSE.

# Whatever happens to the ring's file while the server runs, it happens to a
# copy: no handshake misses its staple, no process gets a signal, and the file
# is put right, or made anew, and serves the next start.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;
use Staple::Work qw(build_dir);

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my @names = map { "$_.test" } 'a' .. 'c';
my @leaves = map { $ca->leaf(name => $_, ocsp => $responder->url) } @names;
my $is_root = $> == 0;

# The monitor hook, which looks at the file's name, runs every ten seconds.
my $HOOK = 40;

sub put
{
    my ($file, $mode, $bytes) = @_;

    open my $out, $mode, $file or die "$file: $!";
    print $out $bytes;
    close $out;
}

# Renamed into its place, as an editor or rsync would, and of the same owner.
sub replace
{
    my ($file, $bytes) = @_;
    my (undef, undef, undef, undef, $uid, $gid) = stat $file;

    put("$file.other", '>', $bytes);
    chown $uid, $gid, "$file.other";
    rename "$file.other", $file or die "$file: $!";
}

# Whether the file has, of each certificate, the bytes that are served.
sub is_whole
{
    my ($file, $served) = @_;

    for my $leaf (@leaves) {
        my ($exit, $bytes) = run(build_dir() . '/staplectl/staplectl', 'get',
                                 '-r', $file, $leaf->{serial});
        return 0 if $exit || $bytes ne $served->{ $leaf->{serial} };
    }
    return 1;
}

my @in_place = (
    ['cut to nothing' => sub { truncate $_[0], 0 }],
    ['emptied by a shell' => sub { put($_[0], '>', '') }],
    ['cut short' => sub { truncate $_[0], 20_000 }],
    ['overwritten with garbage' => sub { put($_[0], '+<', "\x5a" x 200_000) }],
    ['overwritten with text' => sub { put($_[0], '>', "hello\n") }],
    ['made longer' => sub { truncate $_[0], 1_000_000 }],
);
my @by_name = (
    ['deleted' => sub { unlink $_[0] }],
    ['replaced by half a ring' =>
        sub { replace($_[0], substr read_file($_[0]), 0, 30_000) }],
);

sub trouble
{
    my ($who, %o) = @_;
    my $httpd = Staple::Httpd->new(conf => stapling(), %o,
                                   vhosts => [map { { cert => $_ } } @leaves]);
    my $file = $httpd->dir . '/logs/stapling_cache';

    $responder->good;
    $httpd->start;
    my %served = map {
        ($_->{serial} => wait_for_staple($httpd, 'good',
                                         name => $_->{name})->{der})
    } @leaves;
    $responder->tell('refuse');
    ok(wait_for(sub { is_whole($file, \%served) }), "$who: a file");
    my $visitors = Staple::Visitors->new($ca, [$httpd], names => \@names);

    for (@in_place) {
        my ($what, $act) = @$_;

        $act->($file);
        ok(wait_for(sub { is_whole($file, \%served) }, 20),
           "$who: $what: it is put right");
    }
    # Not put right before the next generation reads it, or not quite.
    $in_place[0][1]->($file);
    $httpd->graceful;
    ok(wait_for(sub { is_whole($file, \%served) }, 20),
       "$who: cut to nothing, and a graceful restart");
    $httpd->log_ok;

    for (@by_name) {
        my ($what, $act) = @$_;
        my $old = (stat $file)[1];

        $act->($file);
        ok(wait_for(sub { ((stat $file)[1] // $old) != $old
                              && is_whole($file, \%served) }, $HOOK),
           "$who: $what: a new one is made");
    }
    $httpd->log_ok(qr/STP0120/);

    # What is not a ring is not ours to touch.
    replace($file, "not yours\n");
    ok($httpd->wait_for_log(qr/STP0143.*is not a ring file/, $HOOK),
       "$who: a stranger's file is left alone, and the log says so");
    is(read_file($file), "not yours\n", "$who: as it was");
    unlink $file;
    ok(wait_for(sub { is_whole($file, \%served) }, $HOOK),
       "$who: when it is gone, there is a ring again");
    is(scalar(() = $httpd->error_log =~ /STP0143/g), 1,
       "$who: it was said once");
    $httpd->log_ok(qr/STP0120/, qr/STP0143/);

    chmod 0, $file;
    ok($visitors->wait_for_more(30), "$who: visitors came throughout");
    my @odd = $visitors->stop->odd;
    ok(!@odd, "$who: each saw a true staple") or diag(join "\n", @odd);
    chmod 0600, $file;
    ok($httpd->stop, "$who: httpd stops in good order");

    $httpd->start;
    is(handshake($httpd, name => $_)->{staple}, 'good',
       "$who: $_: stapled from the file after a stop and start") for @names;
    ok($httpd->stop, "$who: httpd stops in good order");
    $responder->tell('listen');
    unlike($httpd->error_log, qr/exit signal (?!Killed)/,
           "$who: no process got a signal but the refreshers replaced");
    # The last one's death may be told after the file was found in order.
    $httpd->log_ok(qr/STP0120/, qr/exit signal Killed/);
}

trouble($is_root ? 'root' : 'a user');
SKIP: {
    skip 'only root can be another user', 1 if !$is_root;
    skip 'no setpriv here', 1 if !Staple::Work::find_tool('setpriv');
    chmod 0644, map { $_->{key} } @leaves;
    trouble('a user', as => (Staple::Httpd::account())[0]);
}

# ----- a disk that is full -----

SKIP: {
    my $disk = work_dir() . '/disk';

    mkdir $disk;
    skip 'cannot mount a small disk', 1
        if !$is_root || (run('mount', '-t', 'tmpfs', '-o', 'size=256k,mode=755',
                             'none', $disk))[0];
    my $file = "$disk/ring";
    my $httpd = Staple::Httpd->new(
        conf => "SSLUseStapling on\nSSLStaplingCache shmcb:$file(128000)\n",
        vhosts => [map { { cert => $_ } } @leaves]);

    $httpd->start;
    my %served = map {
        ($_->{serial} => wait_for_staple($httpd, 'good',
                                         name => $_->{name})->{der})
    } @leaves;
    ok(wait_for(sub { is_whole($file, \%served) }), 'full disk: a file');
    my $visitors = Staple::Visitors->new($ca, [$httpd], names => \@names);
    truncate $file, 0;
    run('dd', 'if=/dev/zero', "of=$disk/filler", 'bs=4k');
    ok($httpd->wait_for_log(qr/STP0140/, 20), 'full disk: the log says so');
    ok($visitors->wait_for_more(50), 'full disk: visitors came throughout');
    is(scalar(() = $httpd->error_log =~ /STP0140/g), 1,
       'full disk: it is said once');
    unlink "$disk/filler";
    ok($httpd->wait_for_log(qr/STP0141/, 20), 'full disk: room again');
    ok(wait_for(sub { is_whole($file, \%served) }), 'full disk: put right');

    my @odd = $visitors->stop->odd;
    ok(!@odd, 'full disk: each saw a true staple') or diag(join "\n", @odd);
    ok($httpd->stop, 'full disk: httpd stops in good order');
    run('umount', '-l', $disk);
    $httpd->log_ok(qr/STP0140/);
}

# ----- a file that another server uses -----

{
    my @httpd = map {
        Staple::Httpd->new(
            conf => "SSLUseStapling on\nSSLStaplingCache shmcb:"
                    . work_dir() . "/shared(128000)\n",
            vhosts => [{ cert => $leaves[0] }])
    } 1 .. 2;

    $_->start for @httpd;
    is(wait_for_staple($_, 'good', name => $names[0])->{staple}, 'good',
       'two servers with one path: both staple') for @httpd;
    like($httpd[1]->error_log, qr/STP0105.*in use by another server/,
         '... and the second does without a file');
    $httpd[0]->graceful;
    unlike($httpd[0]->error_log, qr/STP0105/, 'the first goes on with it');
    ok($httpd[0]->stop, 'the first stops');
    ok($httpd[1]->wait_for_log(qr/STP0144/, $HOOK),
       'then the second makes one');
    ok($httpd[1]->stop, 'the second stops');
    $httpd[0]->log_ok;
    $httpd[1]->log_ok(qr/STP010[45]/, qr/STP0120/);
}

done_testing;
