// Licensed under the Apache License, Version 2.0; see LICENSE.
//
// Clicks through the status page in a real browser with JavaScript off, on a
// phone and on a wide screen, light and dark, and says what it found as lines
// of "ok - ..." and "not ok - ...".
//
//   node browse.js URL CHROMIUM [DIRECTORY FOR PICTURES]

const { chromium } = require(process.env.PLAYWRIGHT_CORE || 'playwright-core');

const [, , url, program, pictures] = process.argv;
const origin = new URL(url).origin;

function say(good, what, more) {
    console.log(`${good ? 'ok' : 'not ok'} - ${what}`);
    if (!good && more !== undefined) {
        console.log(`# ${String(more).replace(/\n/g, ' ')}`);
    }
}

const looks = [
    { name: 'phone, light', width: 360, scheme: 'light' },
    { name: 'phone, dark', width: 390, scheme: 'dark' },
    { name: 'tablet, light', width: 800, scheme: 'light' },
    { name: 'wide, dark', width: 1440, scheme: 'dark' },
];

// Whether the page fits the screen's width, and its style was applied.
async function look(page, name) {
    const found = await page.evaluate(() => ({
        over: document.documentElement.scrollWidth - window.innerWidth,
        font: getComputedStyle(document.body).marginTop,
        ground: getComputedStyle(document.body).backgroundColor,
    }));

    say(found.over <= 0, `${name}: fits the width`, `${found.over} px over`);
    say(found.font === '0px', `${name}: the style is applied`);
    return found.ground;
}

async function browse(browser, { name, width, scheme }) {
    const context = await browser.newContext({
        javaScriptEnabled: false, colorScheme: scheme,
        viewport: { width, height: 850 },
    });
    const page = await context.newPage();
    page.setDefaultTimeout(120000); // a busy machine
    const strangers = [], complaints = [];
    const picture = async (what) => pictures && page.screenshot({
        path: `${pictures}/${what}-${width}-${scheme}.png`, fullPage: true });

    page.on('request', (r) => {
        if (!r.url().startsWith(origin)) strangers.push(r.url());
    });
    page.on('console', (m) => complaints.push(m.text()));
    await page.goto(url);
    const ground = await look(page, `${name}, list`);
    await picture('list');
    say((await page.locator('.sum').innerText()).includes('need attention'),
        `${name}: the summary`);
    const rows = () => page.locator('table.certs tbody tr').count();
    say((await page.locator('.sum').innerText()).includes('since 20'),
        `${name}: since when`);
    say(await page.locator('#trouble article').count() === 2,
        `${name}: what is wrong, by cause`);
    say(await rows() === 50, `${name}: fifty on a page`);
    await page.click('.pages >> text=Next');
    say(await rows() === 15 && await page.locator('#trouble').count() === 0,
        `${name}: the rest on the next`, await rows());
    await page.click('.pages >> text=Previous');
    say(await rows() === 50, `${name}: and back`);
    await page.click('.chips >> text=need attention');
    say(await rows() === 2, `${name}: those that need attention`);
    await page.click('.chips >> text=revoked');
    say(await rows() === 1, `${name}: those in a state`);
    await page.goto(url);
    await page.fill('input[name=q]', 'good.test');
    await page.click('text=Search');
    say(await rows() === 1, `${name}: the search`);
    await page.click('a.name');
    await look(page, `${name}, certificate`);
    await picture('certificate');
    say(await page.locator('h1').innerText() === 'good.test',
        `${name}: the page of a certificate`);
    await page.click('text=Refresh now');
    say((await page.locator('[role=status]').innerText())
        .includes('A new response is asked for'), `${name}: refresh now`);
    await page.click('text=Forget the response');
    say(await page.locator('.sum', { hasText: 'Drop the response' }).count()
        === 1, `${name}: forget asks first`);
    await picture('question');
    await page.click('button:has-text("Forget the response")');
    say((await page.locator('[role=status]').innerText())
        .includes('was dropped'), `${name}: forget`);
    for (let i = 0; i < 100
         && !await page.locator('text=Download').count(); i++) {
        await page.waitForTimeout(50);
        await page.reload();
    }
    const [download] = await Promise.all([
        page.waitForEvent('download'),
        page.click('text=Download'),
    ]);
    say(/\.der$/.test(download.suggestedFilename()), `${name}: the DER`);
    await page.click('text=All certificates');
    say(page.url().replace(/\?$/, '') === url, `${name}: back`, page.url());
    say(!strangers.length, `${name}: nothing from outside`, strangers);
    say(!complaints.length, `${name}: the browser does not complain`,
        complaints);
    await context.close();
    return ground;
}

(async () => {
    const browser = await chromium.launch({
        executablePath: program, args: ['--no-sandbox', '--disable-gpu'] });
    const grounds = [];

    for (const one of looks) {
        grounds.push(await browse(browser, one));
    }
    say(new Set(grounds).size === 2, 'light and dark differ', grounds);
    await browser.close();
})().catch((e) => {
    say(false, 'the browser came to its end', e.stack);
    process.exit(1);
});
