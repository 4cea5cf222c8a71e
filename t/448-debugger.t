# Licensed under the Apache License, Version 2.0; see LICENSE.

# A refresher that cannot be got rid of: a debugger holds it, and while one
# does, the parent never hears of its end. At work the parent forks another one
# all the same, and a restart or a stop goes on without it (STP0126).

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;

use POSIX ();

plan(skip_all => 'it takes root to hold another process') if $> != 0;
chomp(my $machine = `uname -sm`);
my $ptrace = { 'Linux x86_64' => 101, 'Linux aarch64' => 117 }->{$machine}
    or plan(skip_all => "the number of ptrace is not known for $machine");
my ($seize, $interrupt) = (0x4206, 0x4207);

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my $leaf = $ca->leaf(name => 'www.test', ocsp => $responder->url);
my $httpd = Staple::Httpd->new(
    conf   => stapling('SSLStaplingStandardCacheTimeout 1'),
    vhosts => [{ cert => $leaf }]);

# A process that holds another one until it is told to let go, as a debugger
# does at a breakpoint. Returns its pid; undef: it may not.
sub hold
{
    my ($pid) = @_;

    pipe my $from, my $to or die "pipe: $!\n";
    my $holder = fork // die "fork: $!\n";
    if (!$holder) {
        my $is_held = syscall($ptrace, $seize, $pid, 0, 0) == 0
            && syscall($ptrace, $interrupt, $pid, 0, 0) == 0;

        syswrite $to, $is_held ? '1' : '0';
        sleep 600;
        POSIX::_exit(0);
    }
    sysread $from, my $is_held, 1;
    return $holder if $is_held;
    let_go($holder);
    return;
}

sub let_go
{
    my ($holder) = @_;

    kill 'KILL', $holder;
    waitpid $holder, 0;
    return;
}

$httpd->start;
wait_for_staple($httpd, 'good');
my $held = $httpd->wait_for_refresher;
my $holder = hold($held) // plan(skip_all => 'a process cannot be held here');

# At work: killed for its silence, and another one is forked without hearing of
# its end.
ok($httpd->wait_for_log(qr/STP0121/, 60), 'at work: it is killed');
ok($httpd->wait_for_refresher($held, 60), '... another one takes its place');
ok(kill(0, $held), '... though it is still held');
ok($responder->wait_for_request(undef, undef, 20), '... and asks');
is(handshake($httpd)->{staple}, 'good', '... stapled all the time');
let_go($holder);
ok(wait_for(sub { !kill 0, $held }, 60), '... the held one goes, let go');

for my $how (qw(graceful restart stop)) {
    my $times = () = $httpd->error_log =~ /STP0126/g;

    $held = $httpd->wait_for_refresher;
    $holder = hold($held);
    ok($holder, "$how: the refresher is held");
    ok($httpd->$how // 1, '... httpd goes on without it');
    is(scalar(() = $httpd->error_log =~ /STP0126/g), $times + 1,
       '... and says so');
    if ($how ne 'stop') {
        ok($httpd->wait_for_refresher($held, 60), '... there is another one');
        is(handshake($httpd)->{staple}, 'good', '... stapled');
    }
    let_go($holder);
    ok(wait_for(sub { !kill 0, $held }, 60), '... and the held one goes');
}
$httpd->log_ok(qr/STP012[016]/, qr/AH00098/,
               qr/AH00488/);

done_testing;
