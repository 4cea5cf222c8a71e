# Licensed under the Apache License, Version 2.0; see LICENSE.

# staplectl on a bad day: no file, no right to read it, files that are foreign,
# broken, cut or replaced while they are read, wrong options. Clear words, exit
# status 3, and never a crash.

use FindBin;
use JSON::PP ();
use POSIX ();
use lib "$FindBin::Bin/lib";
use Staple;
use Staple::Work qw(build_dir);

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my $leaf = $ca->leaf(name => 'www.test', ocsp => $responder->url);
my $httpd = Staple::Httpd->new(conf   => stapling(),
                               vhosts => [{ cert => $leaf }]);
my $ring = $httpd->dir . '/logs/stapling_cache';
my $dir = work_dir();
my $ctl = build_dir() . '/staplectl/staplectl';

sub fails
{
    my ($words, $title, @args) = @_;
    my ($exit, $out) = run($ctl, @args);

    is($exit, 3, $title);
    like($out, $words, '... in clear words');
}

$httpd->start;
wait_for_staple($httpd, 'good');

# Restarts replace the file all the time; each look sees a whole ring.
my @seen;
for (1 .. 5) {
    kill 'USR1', $httpd->{pid};
    push @seen, map { (run($ctl, 'check', '-r', $ring))[0] } 1 .. 20;
}
is_deeply([grep { $_ > 1 } @seen], [], 'a ring that is being replaced');
ok($httpd->stop, 'httpd stops in good order');

# Far more often than restarts do it: between a look's open and its fstat, too.
my $bytes = read_file($ring);
my $busy = write_file('busy', $bytes);
chmod 0600, $busy;
my $replacer = fork // die "cannot fork: $!\n";
if (!$replacer) {
    my $parent = getppid;
    while (getppid == $parent) {
        open my $new, '>', "$busy.next" or last;
        print $new $bytes;
        close $new;
        chmod 0600, "$busy.next";
        rename "$busy.next", $busy or last;
    }
    POSIX::_exit(0);
}
my @failed = grep { $_->[0] != 0 }
             map { [run($ctl, 'list', '-r', $busy)] } 1 .. 300;
kill 'KILL', $replacer;
waitpid $replacer, 0;
is_deeply(\@failed, [], 'a ring that is replaced without a pause');

fails(qr{/nothing }, 'no file', 'list', '-r',
      "$dir/nothing");
fails(qr/is a directory|no regular file|not a regular file/i, 'a directory',
      'list', '-r', $dir);
symlink($ring, "$dir/link");
fails(qr/symbolic link/, 'a symbolic link', 'list', '-r', "$dir/link");
fails(qr/\S+ \S+/, 'an empty file', 'list', '-r', write_file('empty', ''));
fails(qr/\S+ \S+/, 'a foreign file', 'list', '-r',
      write_file('foreign', "no ring at all\n" x 1000));
fails(qr/\S+ \S+/, 'a cut file', 'list', '-r',
      write_file('cut', substr $bytes, 0, length($bytes) / 2));
fails(qr/written by another version of the module/,
      'a ring of another version', 'list', '-r',
      write_file('version', substr($bytes, 0, 8) . "\xff" . substr $bytes, 9));

# What is broken inside costs a staple and nothing else.
my @odd;
srand 7;
for my $n (1 .. 60) {
    my $copy = $bytes;

    substr $copy, 832 + int(rand(length($copy) - 832)), 1,
           chr int rand 256 for 1 .. 2000;
    my $path = write_file('broken', $copy);
    for my $command ('list', 'check') {
        my ($exit) = run($ctl, $command, '-r', $path, '--cert',
                         $leaf->{chain});
        push @odd, $exit if $exit > 3;
    }
}
is_deeply(\@odd, [], 'broken rings');

# Names are whatever somebody wrote there: 48 bytes at 168 of a slot.
my $slots = unpack 'Q', substr $bytes, 48, 8;
for my $name ("\e[2J\e]0;boo\a\n\r\tx", "\xff" x 47, 'x' x 48, "\"\\<b>") {
    my $copy = $bytes;
    substr $copy, $slots + 168, 48, pack 'a48', $name;
    my $path = write_file('named', $copy);
    chmod 0600, $path;
    for my $args (['list'], ['list', '--json'], ['show', $leaf->{serial}],
                  ['check']) {
        my ($exit, $out) = run($ctl, @$args, '-r', $path);
        is($exit, 0, "a name of odd bytes: @$args");
        unlike($out, qr/[^\n -~]|x{48}/, '... none of them comes out');
        ok(JSON::PP->new->decode($out), '... and it is JSON')
            if $args->[-1] eq '--json';
    }
}

# A name that is too long for the line is cut in the middle on a terminal, and
# nowhere else.
{
    my $long = 'left-' . 'x' x 36 . '-right';
    my $copy = $bytes;
    substr $copy, $slots + 168, 48, pack 'a48', $long;
    my $path = write_file('long', $copy);
    chmod 0600, $path;
    like((run($ctl, 'list', '-r', $path))[1], qr/ \Q$long\E /,
         'a long name in a pipe is whole');
    SKIP: {
        skip 'no script', 2 if !tool('script');
        my $shown = (run('script', '-qec',
                         "stty cols 80; exec $ctl list -r $path",
                         '/dev/null'))[1];

        like($shown, qr/ left-x+\.\.x+-right /, '... on a terminal it is cut');
        my @rows = ($shown =~ s/\e\[\d*m//gr) =~ /^((?:STATE|stapled) [^\r\n]*)/mg;
        is_deeply([map { length > 80 ? $_ : () } @rows], [],
                  '... so that the line fits');
    }
}

SKIP: {
    skip 'root may read everything', 2 if $> != 0;
    my ($user) = Staple::Httpd::account();
    my $uid = getpwnam $user;
    my $pid = fork;
    if (!$pid) {
        open STDOUT, '>', "$dir/denied";
        open STDERR, '>&', \*STDOUT;
        $( = $) = $uid;
        $< = $> = $uid;
        exec($ctl, 'list', '-r', $ring) or POSIX::_exit(127);
    }
    waitpid $pid, 0;
    is($? >> 8, 3, 'no right to read');
    like(read_file("$dir/denied"), qr/ermission|ermitted|not allowed/,
         '... in clear words');
}

# Where nobody names the ring, httpd's configuration does.
{
    my $part = write_file('part.conf', "SSLStaplingCache \${WHAT}(128000)\n");
    local $ENV{STAPLE_HTTPD_CONF}
        = write_file('httpd.conf', "ServerRoot " . $httpd->dir . "\n"
            . "Define WHAT shmcb:logs/stapling_cache\nInclude $part\n");
    my ($exit, $out) = run($ctl, 'list');

    is($exit, 0, 'the ring that the configuration names');
    like($out, qr/^stapled .*www\.test/m, '... is read');
    like($out, qr/^ring \Q$ring\E: /m, '... and which that is, said');
    $ENV{STAPLE_HTTPD_CONF} = write_file('empty.conf', "# nothing\n");
    SKIP: {
        skip 'there is a ring of the packages', 2
            if -e '/var/cache/mod_staple/ring';
        fails(qr/which ring\? .*empty\.conf names none, and there is no/,
              'no ring named', 'list');
    }
}
fails(qr/usage/, 'no command');
fails(qr/there is no command 'lst'; did you mean 'list'/, 'an unknown command',
      'lst');
fails(qr/there is no command 'frobnicate'; see/, 'one that is like none',
      'frobnicate');
fails(qr/there is no option '--rings'; did you mean '--ring'/,
      'an unknown option', 'list', '--rings');
fails(qr/option '--ring' lacks its value/, 'an option without its value',
      'list', '--ring');
fails(qr/'splendid' is no state; there are refused, revoked/,
      'an unknown state', 'list', '-r', $ring, '--state', 'splendid');
fails(qr/'missing=bad' is not STATE=SEVERITY/, 'an unknown severity', 'check',
      '-r', $ring, '--severity', 'missing=bad');
fails(qr/which certificate/, 'nothing to show', 'show', '-r', $ring);
fails(qr/no such certificate/, 'an unknown certificate', 'show', '-r', $ring,
      'other.test');
fails(qr/'soon' is no limit/, 'a limit that is none', 'check', '-r', $ring,
      '-w', 'soon');
fails(qr{^staplectl: \S+: there is no PEM certificate}m,
      'a certificate file that is none', 'list', '-r', $ring, '--cert',
      $leaf->{key});
fails(qr/cannot write/, 'an output that cannot be written', 'get', '-r', $ring,
      $leaf->{serial}, '-o', "$dir/no/such/dir");

$httpd->log_ok;

done_testing;
