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

# A server as it is when its file is to suffer: nobody is asked any more, so all
# that is stapled lies in the ring.
sub victim
{
    my ($who, %o) = @_;
    my $httpd = Staple::Httpd->new(conf => stapling(), %o,
                                   vhosts => [map { { cert => $_ } } @leaves]);
    my $file = $httpd->dir . '/logs/stapling_cache';

    $httpd->start;
    my %served = map {
        ($_->{serial} => wait_for_staple($httpd, 'good',
                                         name => $_->{name})->{der})
    } @leaves;
    return { who => $who, httpd => $httpd, file => $file, served => \%served };
}

sub is_right { return is_whole($_[0]{file}, $_[0]{served}) }

# All suffer the same at the same time, as each wait is for httpd's monitor.
sub trouble
{
    my @victims = @_;

    $responder->tell('refuse');
    for my $v (@victims) {
        ok(wait_for(sub { is_right($v) }), "$v->{who}: a file");
        $v->{visitors} = Staple::Visitors->new($ca, [$v->{httpd}],
                                               names => \@names);
    }
    for (@in_place) {
        my ($what, $act) = @$_;

        for my $v (@victims) {
            $act->($v->{file});
        }
        for my $v (@victims) {
            ok(wait_for(sub { is_right($v) }, 20),
               "$v->{who}: $what: it is put right");
        }
    }
    # Not put right before the next generation reads it, or not quite.
    for my $v (@victims) {
        $in_place[0][1]->($v->{file});
        $v->{httpd}->graceful;
        ok(wait_for(sub { is_right($v) }, 20),
           "$v->{who}: cut to nothing, and a graceful restart");
        $v->{httpd}->log_ok(qr/STP0104.*is empty/); # if it was read so
    }
    for (@by_name) {
        my ($what, $act) = @$_;

        for my $v (@victims) {
            $v->{old} = (stat $v->{file})[1];
            $act->($v->{file});
        }
        for my $v (@victims) {
            ok(wait_for(sub { ((stat $v->{file})[1] // $v->{old}) != $v->{old}
                                  && is_right($v) }, $HOOK),
               "$v->{who}: $what: a new one is made");
        }
    }
    for my $v (@victims) {
        ok($v->{httpd}->wait_for_log(qr/STP0104(?!.*is empty).*it was renamed to \S+\.bad;/,
                                     $HOOK),
           "$v->{who}: the log says where the half ring is now");
        $v->{httpd}->log_ok(qr/STP0120/, qr/STP0104/);
    }

    # What is not a ring is not ours to touch.
    replace($_->{file}, "not yours\n") for @victims;
    for my $v (@victims) {
        ok($v->{httpd}->wait_for_log(qr/STP0143.*is not a ring file/, $HOOK),
           "$v->{who}: a stranger's file is left alone, and the log says so");
        is(read_file($v->{file}), "not yours\n", "$v->{who}: as it was");
        unlink $v->{file};
    }
    for my $v (@victims) {
        ok(wait_for(sub { is_right($v) }, $HOOK),
           "$v->{who}: when it is gone, there is a ring again");
        is(scalar(() = $v->{httpd}->error_log =~ /STP0143/g), 1,
           "$v->{who}: it was said once");
        $v->{httpd}->log_ok(qr/STP0120/, qr/STP0143/);
    }
    end_well($_) for @victims;
    $responder->tell('listen');
}

# The visitors have missed nothing, and a stop and start find the file.
sub end_well
{
    my ($v) = @_;
    my ($who, $httpd, $file) = @$v{qw(who httpd file)};

    chmod 0, $file;
    ok($v->{visitors}->wait_for_more(30), "$who: visitors came throughout");
    my @odd = $v->{visitors}->stop->odd;
    ok(!@odd, "$who: each saw a true staple") or diag(join "\n", @odd);
    chmod 0600, $file;
    ok($httpd->stop, "$who: httpd stops in good order");

    $httpd->start;
    is(handshake($httpd, name => $_)->{staple}, 'good',
       "$who: $_: stapled from the file after a stop and start") for @names;
    ok($httpd->stop, "$who: httpd stops in good order");
    unlike($httpd->error_log, qr/exit signal (?!Killed)/,
           "$who: no process got a signal but the refreshers replaced");
    # The last one's death may be told after the file was found in order.
    $httpd->log_ok(qr/STP0120/, qr/exit signal Killed/);
}

my @victims = victim($is_root ? 'root' : 'a user');
SKIP: {
    skip 'only root can be another user', 1 if !$is_root;
    skip 'no setpriv here', 1 if !Staple::Work::find_tool('setpriv');
    chmod 0644, map { $_->{key} } @leaves;
    push @victims, victim('a user', as => (Staple::Httpd::account())[0]);
}
trouble(@victims);

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
